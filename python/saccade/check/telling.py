"""What was found, for people: a sentence for each method, and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .results import FEW, Check, Interval, MethodFindings

if TYPE_CHECKING:
    from rich.table import Table


def sentence(found: MethodFindings, all_of: Check) -> str:
    """What one would tell a colleague of a method: what it depends on, whether its order counts, where it points."""
    if not found.order.deletion.images:
        return f"{found.method} gives blank maps on all photos, so there is nothing to check."
    return "; ".join([_dependence(found), _order(found, all_of), *_place(found, all_of)]) + "."


def _dependence(found: MethodFindings) -> str:
    half, all_layers = found.half, found.redrawn[-1].depth
    measured = f"with {half.depth} of {all_layers} layers drawn anew its maps "
    if half.rank_absolute.images:
        measured += f"keep a rank correlation of {half.rank_absolute.value:.2f} with the trained network's"
        measured += f" (maps of different photos have {found.others.value:.2f})" if found.others.images else ""
    else:
        measured += "are blank"
    said = {
        "yes": "depends on what the network has learnt",
        "partly": "depends only in part on what the network has learnt",
        "no": "hardly depends on what the network has learnt",
        "open": "was not shown to depend on what the network has learnt, nor the contrary",
    }
    return f"{found.method} {said[found.depends]}: {measured}"


def _order(found: MethodFindings, all_of: Check) -> str:
    own, random, centre = found.order, all_of.random, all_of.centre
    deletion = _against(found.over_random.deletion)
    if deletion is None:
        return f"with fewer than {FEW} photos ({own.deletion.images}) its order is not judged"
    insertion = _against(found.over_random.insertion)
    how = "and brings it back" if insertion == deletion else f"{deletion} chance and brings it back"
    beats = [_against(i) == "faster than" for i in (found.over_centre.deletion, found.over_centre.insertion)]
    many = ("neither", "one", "both")[sum(beats)]
    return (
        f"its order removes the class {how} {insertion} chance (deletion {own.deletion.value:.2f} against "
        f"{random.deletion.value:.2f}, insertion {own.insertion.value:.2f} against {random.insertion.value:.2f}) "
        f"and beats the order from the centre outwards ({centre.deletion.value:.2f}, "
        f"{centre.insertion.value:.2f}) in {many}"
    )


def _against(gain: Interval) -> str | None:
    if gain.images < FEW:
        return None
    return "faster than" if gain.low > 0 else "slower than" if gain.high < 0 else "no faster than"


def _place(found: MethodFindings, all_of: Check) -> list[str]:
    if found.located is None or all_of.located_centre is None:
        return []
    own, centre = found.located, all_of.located_centre
    return [
        f"its maximum lies on the object in {own.pointing.value:.0%} of {own.pointing.images} photos (the picture's "
        f"centre does in {centre.pointing.value:.0%}), and {own.inside.value:.0%} of its evidence within it (its area "
        f"is {centre.inside.value:.0%})"
    ]


def table(found: Check) -> Table:
    """A row for each method, and for what knows nothing of the network."""
    from rich.table import Table
    from rich.text import Text

    depths = [r.depth for r in found.methods[0].redrawn]
    columns = ["depends", *(f"redrawn {d}/{found.layers}" for d in depths), "other photos", "deletion ↓", "insertion ↑"]
    columns += ["pointing ↑", "inside ↑"] if found.located_centre else []
    made = Table(box=None, pad_edge=False)
    made.add_column("")
    for name in columns:
        made.add_column(name, justify="right", no_wrap=True)
    for m in found.methods:
        style = {"yes": "green", "no": "red"}.get(m.depends, "yellow")
        cells = [*(_number(r.rank_absolute) for r in m.redrawn), _number(m.others)]
        cells += [_range(m.order.deletion), _range(m.order.insertion)]
        cells += [_range(m.located.pointing), _range(m.located.inside)] if m.located else []
        made.add_row(Text(m.method), Text(m.depends, style), *cells)
    empty = [""] * (len(depths) + 2)
    for name, order, located in (("random order", found.random, None), ("centre", found.centre, found.located_centre)):
        cells = [_range(order.deletion), _range(order.insertion)]
        cells += [_range(located.pointing), _range(located.inside)] if located else []
        made.add_row(name, *empty, *cells)
    return made


def _number(interval: Interval) -> str:
    return f"{interval.value:.2f}" if interval.images else ""


def _range(interval: Interval) -> str:
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})" if interval.images else ""
