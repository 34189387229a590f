"""`saccade run` beside its stages alone: how much of the machine is lost between decoding, the network and writing.

    python benchmarks/pipeline.py squeezenet1_0 resnet50

On a CPU all stages share the cores, so a run can at best take the sum of what its stages take alone. The photos are
those of shared/data; without them nothing is measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import harness

from saccade.engine import decode, execute, pipeline, render, sinks
from saccade.engine.compiler import load_model

BOUND = 1.1
BATCH = 16
WHOLE, SUM, BARE = "saccade run", "its stages alone", "decoding and the network, nothing written"
KEPT = 0.9


def main() -> None:
    """Measure each network that was named; writes `results/pipeline-NETWORK.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["squeezenet1_0", "resnet50"], help="names in torchvision")
    parser.add_argument("--photos", type=int, default=480, help="the sheet costs the same for few and many")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine")
    options = parser.parse_args()
    if not (harness.DATA / "photos").is_dir():
        sys.exit("benchmarks/pipeline.py needs the photos of ../shared/data/photos; there are none")
    photos = decode.list_photos([str(harness.DATA / "photos")])
    photos = (photos * -(-options.photos // len(photos)))[: options.photos]  # again and again, where there are fewer
    for name in options.networks:
        measure(name, photos, options.rounds, options.patience)


def measure(name: str, photos: list[decode.Photo], rounds: int, patience: float) -> None:
    """One network."""
    with tempfile.TemporaryDirectory(prefix="saccade-benchmark-") as folder:
        program = Path(folder, "program.onnx")
        pipeline.compile_program(load_model(f"torchvision/{name}", "random"), ["grad-cam"], program)
        runner, options = execute.load(program, "cpu"), pipeline.RunOptions(batch_size=BATCH)
        # The whole, and what each stage is given when it runs alone.
        with decode.Decoder(decode.batches_of(photos, BATCH), runner.spec.preprocessing) as decoder:
            batches = list(decoder)
        maps = [runner.run(batch.images) for batch in batches]

        def whole(i: int) -> None:
            pipeline.run(runner, photos, Path(folder, f"out-{i}"), options)

        def bare(i: int) -> None:
            with decode.Decoder(decode.batches_of(photos, BATCH), runner.spec.preprocessing) as decoder:
                for batch in decoder:
                    runner.run(batch.images)

        def decoding(i: int) -> None:
            with decode.Decoder(decode.batches_of(photos, BATCH), runner.spec.preprocessing) as decoder:
                for _ in decoder:
                    pass

        def executing(i: int) -> None:
            for batch in batches:
                runner.run(batch.images)

        def writing(i: int) -> None:
            out = Path(folder, f"written-{i}")
            gallery = render.Gallery(runner.spec, options.look, pipeline.evenly(len(photos), options.sheet_limit))
            with sinks.EvidenceWriter(out, runner.spec, "small") as writer:
                for batch, found in zip(batches, maps, strict=True):
                    writer.write(batch, found)
                    captions = [
                        render.Caption(r.index, r.name, r.label, said, None, None)
                        for r, said in zip(batch.good, runner.spec.answers(found.logits), strict=True)
                    ]
                    gallery.add(captions, batch.images, found.maps)
            sinks.write_picture(out / "sheet.jpg", gallery.draw("a title", "a line"))

        stages: dict[str, Callable[[int], object]] = {"decode": decoding, "execute": executing, "write": writing}
        with harness.load_watched() as load:
            samples = harness.interleave({WHOLE: whole, BARE: bare, **stages}, rounds, warmup=1, patience=patience)
    samples[SUM] = harness.Samples(
        [sum(v) for v in zip(*(samples[s].wall for s in stages), strict=True)],
        [sum(v) for v in zip(*(samples[s].cpu for s in stages), strict=True)],
        [max(v) for v in zip(*(samples[s].others for s in stages), strict=True)],
    )
    pairs = ((WHOLE, SUM), (BARE, WHOLE), *((s, WHOLE) for s in stages))
    ratios = [harness.ratio(samples, above, below) for above, below in pairs]
    claim = f"{name}: saccade run ÷ the sum of its stages alone ≤ {BOUND}"
    kept = f"{name}: throughput with evidence, shards and status ÷ without ≥ {KEPT}"
    figures = {
        claim: harness.verdict(ratios[0], lambda median: median <= BOUND),
        kept: harness.verdict(ratios[1], lambda median: median >= KEPT),
    }
    harness.publish(
        f"pipeline-{name}",
        {
            "benchmark": "pipeline",
            "versions": harness.versions("onnxruntime-gpu", "pillow", "pyarrow", "numpy"),
            "settings": {"network": name, "weights": "random, seed 0", "batch": BATCH, "photos": len(photos)},
            "load": load,
            "figures": figures,
            "ratios": ratios,
            "samples": harness.rounded(samples),
        },
    )


if __name__ == "__main__":
    main()
