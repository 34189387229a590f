from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from saccade.audit import clusters, evidence, strategies
from saccade.audit.findings import ClassFindings
from saccade.audit.strategies import Strategies

MakeRun = Callable[..., Path]


def blob(row: int, column: int, rng: np.random.Generator, size: int = 5) -> np.ndarray:
    found = rng.random((size, size)) * 0.05
    found[row, column] += 1
    return found


def two_ways(count: int, minority: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps [N, 5, 5], features [N, 24] and which way [N]: the first row (the sky), or anywhere below it (a tank)."""
    rng = np.random.default_rng(seed)
    sky = rng.random(count) >= minority
    places = np.where(sky, 0, rng.integers(1, 5, count)), np.where(sky, 2, rng.integers(0, 5, count))
    maps = np.stack([blob(r, c, rng) for r, c in zip(*places, strict=True)])
    seen = np.where(sky[:, None], np.eye(24)[0], np.eye(24)[1]) * 5 + np.abs(rng.normal(size=(count, 24))) * 0.5
    return maps, seen, sky


def only(found: Strategies) -> ClassFindings:
    (one,) = found.classes
    return one


# ---- how many ------------------------------------------------------------------------------------------------------


def test_two_ways_to_a_class(make_run: MakeRun):
    maps, features, sky = two_ways(300, 0.3, 0)
    brightness = np.where(sky, 0.8, 0.3) + np.random.default_rng(1).normal(0, 0.1, 300)
    labels = ["tank" if s else "woods" for s in sky]
    run = make_run([0] * 300, maps, features, labels, attributes={"brightness": brightness})
    found = strategies.find(evidence.read(run))
    tank = only(found)
    assert (tank.name, tank.index, tank.images, tank.blank, tank.precision) == ("tank", 0, 300, 0, sky.mean())
    assert (tank.labelled, tank.recall) == (sky.sum(), 1.0)
    first, second = tank.strategies
    assert (found.assignment == np.where(sky, 1, 2)).all()
    assert found.assignment.dtype == np.int16
    assert (first.number, first.images, first.share, first.purity) == (1, sky.sum(), sky.mean(), 1.0)
    assert (second.number, second.purity, second.labels) == (2, 0.0, {"woods": (~sky).sum()})
    expected = [(m / m.sum(axis=(1, 2), keepdims=True)).mean(axis=0) for m in (maps[sky], maps[~sky], maps)]
    for s, m in zip((first.mean_map, second.mean_map, tank.mean_map), expected, strict=True):
        np.testing.assert_allclose(s, m, rtol=1e-3)
    assert first.measures["same_place"] > 0.9 > 0.2 > second.measures["same_place"]
    assert first.measures["border_mass"] == pytest.approx(evidence.read(run).statistics["border_mass"][sky].mean())
    assert next(iter(first.differs)) in ("center_y", "border_mass", "brightness", "center_x", "spread", "corner_mass")
    assert list(map(abs, first.differs.values())) == sorted(map(abs, first.differs.values()), reverse=True)
    ((label, number, rows),) = tank.confusions
    assert (label, number, len(rows)) == ("woods", (~sky).sum(), 6)
    assert not sky[list(rows)].any()


def test_the_same_thing_at_two_places_is_one_strategy(make_run: MakeRun):
    rng = np.random.default_rng(2)
    left = rng.random(400) < 0.5
    maps = np.stack([blob(2, 0 if one else 4, rng) for one in left])
    features = np.eye(24)[3] * 5 + np.abs(rng.normal(size=(400, 24)))
    assert len(only(strategies.find(evidence.read(make_run([0] * 400, maps, features)))).strategies) == 1
    # Without features the maps are all there is.
    found = strategies.find(evidence.read(make_run([0] * 400, maps, name="maps")))
    assert len(only(found).strategies) == 2
    assert set(found.assignment[left]) != set(found.assignment[~left])
    # Features that say nothing are no features.
    run = make_run([0] * 400, maps, np.ones((400, 24)), name="alike")
    assert len(only(strategies.find(evidence.read(run))).strategies) == 2


def two(rng: np.random.Generator, n: int, minority: float = 0.5) -> np.ndarray:
    return rng.normal(size=(n, 20)) + 9 * np.eye(20)[4] * (rng.random(n) < minority)[:, None]


def bent(rng: np.random.Generator, n: int) -> np.ndarray:
    t = rng.normal(size=n)
    return np.column_stack([t, t**2 + 0.3 * rng.normal(size=n), 0.3 * rng.normal(size=(n, 3))])


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda rng, n: rng.normal(size=(n, 10)), 1),
        (lambda rng, n: rng.normal(size=(n, 20)) * [5] + rng.normal(size=(n, 1)) * 30, 1),  # long
        (lambda rng, n: np.column_stack([rng.random(n) * 10, rng.normal(0, 0.5, (n, 4))]), 1),  # evenly spread
        (lambda rng, n: rng.random((n, 2)), 1),
        (lambda rng, n: rng.exponential(size=(n, 8)), 1),
        (lambda rng, n: rng.standard_t(3, size=(n, 6)), 1),
        (bent, 1),
        (two, 2),
        (lambda rng, n: two(rng, n, 0.05), 2),
        (lambda rng, n: rng.normal(size=(n, 32)) + 9 * np.eye(32)[3 * rng.integers(0, 4, n)], 4),
        (lambda rng, n: rng.normal(size=(n, 32)) + 9 * np.eye(32)[3 * rng.integers(0, 8, n)], 8),
        (lambda rng, n: np.eye(16)[rng.integers(0, 3, n)], 3),  # three images, over and over
        (lambda rng, n: np.ones((n, 4)), 1),
    ],
)
def test_the_number_of_clusters(make: Callable[[np.random.Generator, int], np.ndarray], count: int):
    assert len(clusters.fit(make(np.random.default_rng(0), 1000), 0).centres) == count


def test_clusters_are_what_was_planted_and_others_are_assigned_to_them():
    rng = np.random.default_rng(5)
    found = clusters.fit(two(rng, 1000, 0.1), 0)
    which = rng.random(5000) < 0.1
    vectors = rng.normal(size=(5000, 20)) + 9 * np.eye(20)[4] * which[:, None]
    chosen, distance = found.assign(vectors)
    assert max((chosen == which).mean(), (chosen != which).mean()) > 0.999
    points = (vectors - found.mean) @ found.axes.T
    np.testing.assert_allclose(distance, np.linalg.norm(points - found.centres[chosen], axis=1))
    # A wrong answer is seen: half of the vectors with the other half's coordinate.
    swapped = np.where(rng.random((5000, 1)) < 0.5, 9 - vectors, vectors)
    assert 0.3 < (found.assign(swapped)[0] == which).mean() < 0.7


def test_a_few_vectors_are_one_cluster():
    for n in (1, 2, 10, 29):
        found = clusters.fit(two(np.random.default_rng(0), n), 0)
        chosen, distance = found.assign(two(np.random.default_rng(1), 7))
        assert (len(found.centres), set(chosen), np.isfinite(distance).all()) == (1, {0}, True)


# ---- what is said of them ------------------------------------------------------------------------------------------


def test_against_the_formulas(make_run: MakeRun):
    maps, features, sky = two_ways(120, 0.4, 7)
    maps[5] = 1  # flat: correlates with nothing
    rng = np.random.default_rng(8)
    attributes = {
        "contrast": np.where(sky, 0.5, 0.4) + rng.normal(0, 0.1, 120),
        "red": sky * 0.25,
        "green": [0.5] * 120,
    }
    given = evidence.read(make_run([0] * 120, maps, features, attributes=attributes, sizes=[(64, 48)] * 120))
    found = strategies.find(given)
    shares = given.read(range(120))[0].astype(np.float64)
    shares /= shares.sum(axis=(1, 2), keepdims=True)
    flat = shares.reshape(120, -1)
    for s in only(found).strategies:
        mine = np.flatnonzero(found.assignment == s.number)
        others = np.flatnonzero(found.assignment != s.number)
        each = [np.corrcoef(flat[i], flat[mine[mine != i]].mean(axis=0))[0, 1] for i in mine if np.ptp(flat[i]) > 1e-6]
        assert s.measures["same_place"] == pytest.approx(np.mean(each), abs=1e-9)
        a, b = (given.attributes["contrast"][rows].astype(float) for rows in (mine, others))
        n, m = len(a), len(b)
        pooled = np.sqrt(((n - 1) * a.var(ddof=1) + (m - 1) * b.var(ddof=1)) / (n + m - 2))
        assert s.differs["contrast"] == pytest.approx((a.mean() - b.mean()) / pooled, rel=1e-6)
        assert s.differs["red"] == (100 if s.purity is None and sky[mine].all() else -100)
        assert "green" not in s.differs
        assert "width" not in s.differs
    near = [tuple(sorted(s.typical)) for s in only(found).strategies]
    assert all(len(rows) == 24 for rows in near)
    assert not set(near[0]) & set(near[1])
    for s in only(found).strategies:
        assert not set(s.typical) & set(s.outliers)
        assert {found.assignment[r] for r in (*s.typical, *s.outliers)} == {s.number}


def test_typical_images_are_near_and_outliers_far(make_run: MakeRun):
    rng = np.random.default_rng(3)
    features = np.eye(24)[0] * 5 + np.abs(rng.normal(size=(100, 24))) * 0.3
    features[[7, 70]] = np.eye(24)[[5, 9]] * 5
    (one,) = only(strategies.find(evidence.read(make_run([0] * 100, features=features)))).strategies
    assert set(one.outliers[:2]) == {7, 70}
    assert len(one.outliers) == 8
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    distance = np.linalg.norm(unit - unit.mean(axis=0), axis=1)
    assert distance[list(one.typical)].mean() < distance.mean()


def test_blank_maps_belong_to_no_strategy(make_run: MakeRun):
    maps, features, _ = two_ways(60, 0.0, 4)
    maps[:20] = 0
    found = strategies.find(evidence.read(make_run([0] * 60, maps, features)))
    tank = only(found)
    assert (tank.images, tank.blank) == (60, 20)
    assert (found.assignment[:20] == -1).all()
    assert sum(s.share for s in tank.strategies) == pytest.approx(40 / 60)
    assert tank.mean_map.sum() == pytest.approx(1)


def test_all_maps_blank(make_run: MakeRun):
    found = strategies.find(evidence.read(make_run([0, 1] * 20, np.zeros((40, 4, 4)), np.ones((40, 3)))))
    assert (found.assignment == -1).all()
    for c in found.classes:
        assert (c.images, c.blank, c.strategies, c.mean_map.any()) == (20, 20, (), False)


@pytest.mark.parametrize("bad", [np.nan, 0.0])
def test_features_that_say_nothing(make_run: MakeRun, bad: float):
    maps = np.random.default_rng(0).random((50, 4, 4))
    run = make_run([0] * 50, maps, np.ones((50, 6)))
    given = evidence.read(run)

    class Odd(evidence.Evidence):
        def slices(self, features: bool = True):
            for first, m, f in super().slices(features):
                yield first, m, None if f is None else np.full_like(f, bad)

        def read(self, rows, features: bool = True):  # type: ignore[no-untyped-def]
            m, f = super().read(rows, features)
            return m, None if f is None else np.full_like(f, bad)

    odd = Odd(**{f.name: getattr(given, f.name) for f in dataclasses.fields(given)})
    assert only(strategies.find(odd)).strategies[0].images == 50


def test_few_images_errors_and_no_labels(make_run: MakeRun):
    predicted = [0] * 12 + [1] + [None] * 3 + [2] * 7
    found = strategies.find(evidence.read(make_run(predicted, np.random.default_rng(0).random((23, 4, 4)))))
    assert [(c.name, c.images, len(c.strategies)) for c in found.classes] == [
        ("tank", 12, 1),
        ("car", 7, 0),
        ("woods", 1, 0),
    ]
    for c in found.classes:
        assert (c.recall, c.precision, c.labelled, c.confusions) == (None, None, 0, ())
        assert all((s.purity, s.labels) == (None, {}) for s in c.strategies)
    assert (found.assignment[12:] == -1).all()


def test_nothing_but_errors(make_run: MakeRun):
    found = strategies.find(evidence.read(make_run([None] * 5)))
    assert (found.classes, set(found.assignment)) == ((), {-1})


def test_a_map_of_one_cell_and_flat_maps(make_run: MakeRun):
    for shape in ((20, 1, 1), (20, 3, 3)):
        run = make_run([0] * 20, np.ones(shape), name=str(shape))
        (one,) = only(strategies.find(evidence.read(run))).strategies
        assert "same_place" not in one.measures
        assert one.images == 20


def test_labels_that_name_no_class_are_shown_and_judge_nothing(make_run: MakeRun):
    labels = ["plane"] * 5 + ["0"] * 4 + ["tank"] * 3 + ["woods"] * 2 + [None]
    (one,) = only(found := strategies.find(evidence.read(make_run([0] * 15, labels=labels)))).strategies
    assert one.labels == {"tank": 7, "plane": 5, "woods": 2}
    assert one.purity == only(found).precision == pytest.approx(7 / 9)


# ---- the same again ------------------------------------------------------------------------------------------------


def plain(found: Strategies) -> list[object]:
    def listed(value: object) -> object:
        return value.tolist() if isinstance(value, np.ndarray) else value

    return [
        found.assignment.tolist(),
        *[{k: listed(v) for k, v in vars(c).items() if k != "strategies"} for c in found.classes],
        *[{k: listed(v) for k, v in vars(s).items()} for c in found.classes for s in c.strategies],
    ]


def test_the_same_whatever_the_slices_and_the_sample(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch):
    maps, features, sky = two_ways(500, 0.3, 9)
    run = make_run([0, 1] * 250, maps, features, shard=60)
    monkeypatch.setattr(strategies, "SAMPLE", 100)
    given = evidence.read(run)
    first = strategies.find(given, seed=3)
    assert [len(c.strategies) for c in first.classes] == [2, 2]
    assert (np.isin(first.assignment, [1]) == sky).mean() > 0.99
    for size in (7, 64):
        monkeypatch.setattr(evidence, "_SLICE", size)
        monkeypatch.setattr(strategies, "_BYTES", size)
        assert plain(strategies.find(given, seed=3)) == plain(first)
    changed = dataclasses.replace(first, assignment=first.assignment[::-1].copy())
    assert plain(changed) != plain(first)
