"""docs/benchmarks.md and its plots, made of the files in results/: nothing in them is typed by hand.

python benchmarks/document.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import harness
import matplotlib as mpl
import matplotlib.pyplot as plt

DOCS = harness.ROOT / "docs"
EAGER = "forward eager"
CLAIMS = {  # Grad-CAM or saliency ÷ the same runtime's forward pass, batches of 8 and more, float32
    "grad-cam": {"resnet18": 1.03, "resnet50": 1.03, "mobilenet_v2": 1.03, "vgg16": 1.08, "alexnet": 1.15},
    "saliency": {"resnet18": 2.4, "resnet50": 2.4},
}
FASTER = {"resnet50": {"float32": 1.5, "bfloat16": 2.5}}
"""How much faster than torch's own forward pass in the same precision Grad-CAM is to be, in the fastest runtime."""
COLOURS = {"saccade": "#2a6f97", "forward": "#a9d6e5", "hooks": "#c9a227", "other": "#b0b0b0"}
HEAD = """# Benchmarks

Made by `python benchmarks/document.py` from the files in `benchmarks/results/`; do not edit. How each figure is
measured is in [benchmarks/README.md](../benchmarks/README.md).

A ratio is taken within a round, between calls that ran beside each other; the median over the rounds in which the
machine was quiet is given, with its quartiles (over all rounds where too few were quiet: then it decides nothing).
Times in milliseconds belong to the machine that is named: compare them within a table, never between two.
"""


def main() -> None:
    """Write the page and the plots."""
    results = read_results()
    for name, result in results.items():
        if drawn := largest(result):
            plot(drawn, DOCS / "images" / f"{name}.svg", place(result))
    (DOCS / "benchmarks.md").write_text(page(results), encoding="utf-8")
    print(f"docs/benchmarks.md: {len(results)} results")


def read_results() -> dict[str, dict[str, Any]]:
    """The results that have figures in them, by their file's name."""
    paths = sorted(harness.RESULTS.glob("*.json"))
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    return {name: result for name, result in found.items() if isinstance(result, dict) and "benchmark" in result}


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page."""
    bench = {name: r for name, r in results.items() if r["benchmark"] == "bench"}
    parts = [HEAD]
    for name, result in bench.items():
        parts += price(name, result)
    timed = {name: r for name, r in results.items() if r["benchmark"] not in ("soak", "shortcuts")}
    parts += figures(timed)
    if "shortcuts" in results:
        later = {name: r for name, r in results.items() if r["benchmark"] == "shortcuts" and name != "shortcuts"}
        parts += shortcuts(results["shortcuts"], later)
    parts += soaks({name: r for name, r in results.items() if r["benchmark"] == "soak"})
    for name, result in bench.items():
        parts += tables(name, result)
    return "\n".join(parts).rstrip() + "\n"


# ---- long runs ----------------------------------------------------------------------------------------------------


def soaks(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What long runs promise, and whether they kept it."""
    if not results:
        return
    yield "## Soaks\n"
    yield "What `make soak` did to long runs ([docs/runs.md](runs.md)), and whether they kept what they promise.\n"
    yield "| soak | with | promise | |"
    yield "|---|---|---|---|"
    for name, result in results.items():
        settings = ", ".join(f"{k} {v}" for k, v in result["settings"].items())
        for promise, held in result["promises"].items():
            yield _row(f"`{name}`", settings, promise, "held" if held else "**broken**")
    yield ""
    yield "| soak | figure | |"
    yield "|---|---|---|"
    for name, result in results.items():
        for figure, value in result["figures"].items():
            yield _row(f"`{name}`", figure, str(value))
    yield ""


# ---- what an explanation costs ------------------------------------------------------------------------------------


def price(name: str, result: Mapping[str, Any]) -> Iterator[str]:
    """The plot, and the price over the forward pass as a table."""
    where = place(result)
    groups = [g for g in result["groups"] if g["rows"]]
    what, narrow = (" and ".join(dict.fromkeys(g[key] for g in groups)) for key in ("method", "precision"))
    yield f"## What an explanation costs: {what} in {narrow}, {where}\n"
    if largest(result):
        yield f"![Time of each contender relative to eager model(x), {where}](images/{name}.svg)\n"
    yield "The compiled program ÷ the same runtime's forward pass of the same network, folded and exported alike:\n"
    yield "| network | method | precision | batch | runtime | ratio | quartiles | quiet rounds | bound | |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for group in groups:
        for ratio in (r for r in group["ratios"] if r["to"].startswith("forward ") and r["to"] != EAGER):
            yield _row(*about(group), ratio["to"].removeprefix("forward "), *numbers(ratio), *claim(group, ratio))
    yield ""
    yield "And ÷ eager `model(x)`, the plain forward pass in PyTorch:\n"
    yield "| network | method | precision | batch | contender | ratio | quartiles | quiet rounds | bound | |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for group in groups:
        to_eager = [r for r in group["ratios"] if r["to"] == EAGER]
        ours = [r for r in to_eager if r["of"].startswith("saccade ")]
        fastest = min(ours, key=lambda r: (r["quiet"] or r["wall"])["median"], default=None)
        for ratio in to_eager:
            bound = faster(group, ratio) if ratio is fastest else ("", "")
            yield _row(*about(group), ratio["of"], *numbers(ratio), *bound)
    yield ""
    if "command" in result:
        yield f"Repeat with: `{result['command']}`\n"


def largest(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is drawn: of each network, method and precision the largest batch."""
    groups = [g for g in result.get("groups", ()) if EAGER in g["rows"]]
    return list({key(g): g for g in sorted(groups, key=lambda g: g["batch"])}.values())


def claim(group: Mapping[str, Any], ratio: Mapping[str, Any]) -> tuple[str, str]:
    """The bound, and whether it is met; empty where nothing is claimed."""
    bound = CLAIMS.get(group["method"], {}).get(short(group["model"]))
    if bound is None or group["batch"] < 8 or group["precision"] != "float32":
        return "", ""
    return f"≤ {bound}", harness.verdict(ratio, lambda median: median <= bound).partition(":")[0]


def faster(group: Mapping[str, Any], ratio: Mapping[str, Any]) -> tuple[str, str]:
    """The same for the time relative to torch's own forward pass."""
    times = FASTER.get(short(group["model"]), {}).get(group["precision"])
    if times is None or group["method"] != "grad-cam" or group["batch"] < 8:
        return "", ""
    said = harness.verdict(ratio, lambda median: median <= 1 / times).partition(":")[0]
    return f"≤ {1 / times:.3g} ({times} × as fast)", said


def plot(groups: Sequence[Mapping[str, Any]], path: Path, where: str) -> None:
    """Bars: each contender's time relative to eager model(x), a panel for each combination."""
    mpl.rcParams |= {"svg.hashsalt": "saccade", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    most = max(len(g["rows"]) for g in groups)
    figure, axes = plt.subplots(rows, columns, figsize=(4.1 * columns, (0.28 * most + 0.9) * rows), squeeze=False)
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    for axis, group in zip(axes.flat, groups, strict=False):
        ratios = {r["of"]: (r["quiet"] or r["wall"])["median"] for r in group["ratios"] if r["to"] == EAGER}
        forward = {n: row["p50_ms"] / group["rows"][EAGER]["p50_ms"] for n, row in group["rows"].items()}
        names = sorted(group["rows"], key=lambda n: (n.split()[-1] if n.startswith(("saccade", "forward")) else "~", n))
        values = [ratios[n] if n in ratios else forward[n] for n in names]
        colours = [COLOURS.get(n.split()[0], COLOURS["other"]) for n in names]
        bars = axis.barh(names, values, color=colours)
        axis.bar_label(bars, [f"{v:.2f}" for v in values], padding=3, fontsize=8)
        axis.axvline(1, color="black", linewidth=0.8, linestyle=":")
        axis.set_xlim(0, 1.18 * max(values))
        axis.invert_yaxis()
        narrow = "" if group["precision"] == "float32" else f"{group['precision']}, "
        title = f"{short(group['model'])}, {group['method']}, {narrow}batch {group['batch']}"
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(axis="y", length=0, labelsize=8)
    figure.suptitle(f"Time ÷ eager model(x), lower is better\n{where}", fontsize=10, x=0.02, ha="left")
    save(figure, path)


# ---- does the audit tell the truth? -------------------------------------------------------------------------------


def shortcuts(result: Mapping[str, Any], later: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What the audit says of networks with planted shortcuts and without, beside what is so; and of later series."""
    found, settings = result["summary"], result["settings"]
    counts = "; ".join(f"{n} {what}" for what, n in found["counts"].items() if n)
    yield "## Does the audit tell the truth?\n"
    yield f"{settings['networks']} small networks of drawn scenes: {counts}. Thresholds were chosen on the kinds"
    yield f"{', '.join(settings['tuning kinds'])} and half of the clean networks; the others are untouched. In brackets"
    yield "the 95 % interval over networks. How it is made is in [benchmarks/README.md](../benchmarks/README.md).\n"
    yield "| on | AUROC | planted thing first | called shortcut | clean ones called shortcut | flips and fall, ρ |"
    yield "|---|---|---|---|---|---|"
    columns = ("auroc", "planted_first", "relies_flagged", "clean_flagged", "spearman")
    sets = result["real"]["sets"] if result["real"] else {}
    for name, part in {"untouched": found["untouched"], "tuning": found["tuning"], **sets}.items():
        yield _row(f"{name}, real pictures" if name in sets else name, *(_figure(part[c]) for c in columns))
    for name, series in later.items():
        of = f"{series['settings']['networks']} others, never seen before (`{name}`)"
        yield _row(of, *(_figure(series["summary"]["untouched"][c]) for c in columns))
    yield "\n| asked for on the untouched | |\n|---|---|"
    yield from (_row(claim, met) for claim, met in result["figures"].items())
    yield "\n| kind | relies | fall: least, median, most | AUROC | first | called | maps alone | attributes alone |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, part in [*found["kinds"].items(), *((f"{s} %", p) for s, p in found["strengths"].items())]:
        mark = " (tuning)" if part["tuning"] == [True] else ""
        baselines = (_figure(part["baselines"][b]) for b in ("spray", "correlation"))
        own = (_figure(part[c]) for c in ("auroc", "planted_first", "relies_flagged"))
        relies, fall = f"{part['relies']} of {part['networks']}", ", ".join(f"{v:.2f}" for v in part["fall"])
        yield _row(f"{name}{mark}", relies, fall, *own, *baselines)
    yield ""
    if found["decoys"]["networks"]:
        yield from _decoys(found["decoys"])
        for name, series in later.items():
            flagged = _figure(series["summary"]["decoys"]["flagged"])
            yield f"Of `{name}` {flagged} of {series['summary']['decoys']['networks']} are called a shortcut.\n"
    for title, part in (("drawn scenes", found), ("real pictures", result["real"])):
        if part and part["failures"]:
            yield f"<details><summary>Where it is wrong: {title}</summary>\n"
            yield "| network | | fall | verdict | first suspect |\n|---|---|---|---|---|"
            for f in part["failures"]:
                yield _row(f"`{f['network']}`", f["why"], f"{f['fall']:.2f}", f["verdict"], f["first"] or "–")
            yield "\n</details>\n"


def _decoys(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{found['networks']} clean networks were also shown images in which something that they disregard goes with"
    yield "the label: who only looks at the images cannot tell them from those that rely on it.\n"
    yield "| called shortcut | AUROC, relies against these | maps alone | attributes alone |"
    yield "|---|---|---|---|"
    baselines = (_figure(found["baselines"][b]) for b in ("spray", "correlation"))
    yield _row(_figure(found["flagged"]), _figure(found["auroc"]), *baselines)
    yield ""


def _figure(figure: Mapping[str, Any]) -> str:
    """A figure with its interval; a dash where it cannot be said."""
    if figure["value"] is None:
        return "–"
    known = figure["low"] is not None
    return f"{figure['value']:.2f}" + (f" ({figure['low']:.2f} to {figure['high']:.2f})" if known else "")


# ---- everything else ----------------------------------------------------------------------------------------------


def figures(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What was claimed elsewhere, with what was measured."""
    yield "## Pictures, folders, several classes at once\n"
    yield "| file | of | to | ratio | quartiles | quiet rounds | machine |"
    yield "|---|---|---|---|---|---|---|"
    claims = []
    for name, result in results.items():
        if result["benchmark"] == "bench":
            continue
        ratios = result["ratios"].items() if isinstance(result["ratios"], dict) else [("", result["ratios"])]
        for what, found in ratios:
            for ratio in found:
                yield _row(
                    f"`{name}`", f"{ratio['of']} {what and f'({what})'}", ratio["to"], *numbers(ratio), place(result)
                )
        claims += [(said, met.partition(":")[0], f"`{name}`") for said, met in result.get("figures", {}).items()]
    yield "\n| claim | | file |\n|---|---|---|"
    yield from (_row(*line) for line in claims)
    yield ""


def tables(name: str, result: Mapping[str, Any]) -> Iterator[str]:
    """Every row of `saccade bench`, folded away."""
    yield f"## Every row of `{name}`\n"
    yield f"{result['date']}, {place(result)}; {', '.join(f'{k} {v}' for k, v in result['versions'].items())}.\n"
    for group in result["groups"]:
        model, method, precision, batch = about(group)
        yield f"<details><summary>{model}, {method}, {precision}, batch {batch}</summary>\n"
        yield "| contender | p50 ms | p95 ms | p99 ms | images/s | peak MiB | calls |"
        yield "|---|---|---|---|---|---|---|"
        for who, row in group["rows"].items():
            times = (f"{row[k]:.4g}" for k in ("p50_ms", "p95_ms", "p99_ms", "images_per_second"))
            yield _row(who, *times, f"{row['peak_mib']:.0f}", str(row["calls"]))
        yield from (f"\nNot {who}: {' '.join(reason.split())}" for who, reason in group["refused"].items())
        yield "\n</details>\n"


def save(figure: Any, path: Path) -> None:
    """As SVG, with the same bytes for the same figures."""
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def numbers(ratio: Mapping[str, Any]) -> tuple[str, str, str]:
    """A ratio's median, quartiles and rounds, as text."""
    w = ratio["quiet"] or ratio["wall"]
    quiet = f"{ratio['quiet_rounds']} of {ratio['rounds']}"
    return f"{w['median']:.3g}", f"{w['q1']:.3g} to {w['q3']:.3g}", quiet


def key(group: Mapping[str, Any]) -> tuple[str, ...]:
    """What a combination is, but for its batch."""
    return group["model"], group["method"], group["precision"]


def about(group: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """The first cells of a row."""
    return short(group["model"]), group["method"], group["precision"], str(group["batch"])


def short(model: str) -> str:
    """A network's name without its library."""
    return model.rpartition("/")[2]


def place(result: Mapping[str, Any]) -> str:
    """The machine in a few words."""
    m = result["machine"]
    on_gpu = result.get("settings", {}).get("device") == "cuda"
    vector = m.get("vector") or [""]
    return m["gpu"] if on_gpu and "gpu" in m else f"{m['cpu']}, {m['cores_used']} cores, {vector[-1]}".rstrip(", ")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
