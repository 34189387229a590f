from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from saccade.audit import associations, evidence
from saccade.audit.associations import Association, Associations, holm
from saccade.audit.dependence import LEAST, of_ranks, of_ranks_within, of_table, of_table_within

MakeRun = Callable[..., Path]


def some(seed: int, count: int = 400, classes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers with ties [N], classes [N] (-1 too) and strata [N], all of which hang together a little."""
    rng = np.random.default_rng(seed)
    strata = rng.integers(0, classes, count)
    predicted = np.where(rng.random(count) < 0.6, strata, rng.integers(-1, classes, count))
    values = np.round(rng.normal(size=count) + 0.3 * predicted + 0.5 * strata, 1)
    return values, predicted, strata


# ---- the statistics, against scipy and against their definitions ---------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_ranks_are_mann_and_whitneys(seed: int):
    values, classes, _ = some(seed)
    found = of_ranks(values, classes, 3)
    for c in range(3):
        a, b = values[classes == c], values[classes != c]
        expected = stats.mannwhitneyu(a, b, method="asymptotic")
        assert found.p[c] == pytest.approx(expected.pvalue, rel=1e-9)
        assert found.effect[c] == pytest.approx(np.sign(a[:, None] - b).mean())
        assert found.effect[c] != pytest.approx(np.sign(b[:, None] - a).mean(), abs=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_ranks_within_strata_are_van_elterens(seed: int):
    values, classes, strata = some(seed)
    found = of_ranks_within(values, classes, 3, strata)
    for c in range(3):
        total = variance = reach = 0.0
        for k in range(3):
            x, own = values[strata == k], classes[strata == k] == c
            n, n1, n2 = len(x), own.sum(), (~own).sum()
            u = (np.sign(x[own][:, None] - x[~own]) / 2).sum()  # U less its mean
            t = np.unique(x, return_counts=True)[1]
            total += u / (n + 1)
            variance += n1 * n2 / 12 * (n + 1 - (t**3 - t).sum() / (n * (n - 1))) / (n + 1) ** 2
            reach += n1 * n2 / 2 / (n + 1)
        assert found.effect[c] == pytest.approx(total / reach)
        assert found.p[c] == pytest.approx(2 * stats.norm.sf(abs(total) / np.sqrt(variance)))


def test_one_stratum_is_no_stratum():
    values, classes, _ = some(3)
    levels = np.clip(values, 0, 3).astype(int)
    one = np.zeros(len(values), int)
    np.testing.assert_allclose(of_ranks_within(values, classes, 3, one).effect, of_ranks(values, classes, 3).effect)
    np.testing.assert_allclose(
        of_table_within(levels, classes, 3, one).effect, of_table(levels, classes, 3).effect, rtol=2e-3
    )


def bergsma(table: np.ndarray) -> float:
    chi2, n = stats.chi2_contingency(table, correction=False)[0], table.sum()
    r, k = table.shape
    phi2 = max(0.0, chi2 / n - (k - 1) * (r - 1) / (n - 1))
    return np.sqrt(phi2 / min(k - (k - 1) ** 2 / (n - 1) - 1, r - (r - 1) ** 2 / (n - 1) - 1))


@pytest.mark.parametrize("seed", range(3))
def test_tables_are_pearsons_and_bergsmas(seed: int):
    values, classes, _ = some(seed, 900)
    levels = np.digitize(values, [0, 0.5, 1])
    found = of_table(levels, classes, 3)
    for c in range(3):
        table = np.array([[((levels == v) & ((classes == c) == own)).sum() for own in (True, False)] for v in range(4)])
        assert found.p[c] == pytest.approx(stats.chi2_contingency(table, correction=False)[1], rel=1e-9)
        assert found.effect[c] == pytest.approx(bergsma(table))
        assert found.effect[c] != pytest.approx(bergsma(table[:, ::-1] + [[5, 0], [0, 0], [0, 0], [0, 9]]), abs=1e-3)


def test_rare_levels_are_counted_together():
    rng = np.random.default_rng(0)
    classes = (rng.random(600) < 0.3).astype(int)
    levels = np.where(rng.random(600) < 0.9, rng.integers(0, 2, 600), rng.integers(2, 40, 600))
    found = of_table(levels, classes, 2)
    merged = np.minimum(levels, 2)
    assert found.p == pytest.approx(of_table(merged, classes, 2).p)
    table = np.array([[((merged == v) & (classes == c)).sum() for c in range(2)] for v in range(3)])
    assert found.p[0] == pytest.approx(stats.chi2_contingency(table, correction=False)[1])


def cmh(levels: np.ndarray, own: np.ndarray, strata: np.ndarray) -> float:
    """Q from its definition, with the hypergeometric covariance written out."""
    count = levels.max() + 1
    g, v = np.zeros(count), np.zeros((count, count))
    for k in np.unique(strata):
        here = strata == k
        n, n1 = here.sum(), (here & own).sum()
        held = np.bincount(levels[here], minlength=count).astype(float)
        g += np.bincount(levels[here & own], minlength=count) - n1 * held / n
        v += n1 * (n - n1) / (n**2 * (n - 1)) * (n * np.diag(held) - np.outer(held, held))
    return float(g[1:] @ np.linalg.solve(v[1:, 1:], g[1:]))


@pytest.mark.parametrize("seed", range(3))
def test_tables_within_strata_are_cochrans_mantels_and_haenszels(seed: int):
    values, classes, strata = some(seed, 900)
    levels = np.digitize(values, [0, 0.5, 1])
    found = of_table_within(levels, classes, 3, strata)
    for c in range(3):
        assert found.p[c] == pytest.approx(stats.chi2.sf(cmh(levels, classes == c, strata), 3), rel=1e-6)
        shuffled = np.random.default_rng(0).permutation(levels)
        assert found.p[c] != pytest.approx(stats.chi2.sf(cmh(shuffled, classes == c, strata), 3), rel=1e-3)


def test_what_goes_with_the_label_alone_goes_with_nothing_beyond_it():
    rng = np.random.default_rng(1)
    strata = rng.integers(0, 2, 4000)
    wrong = rng.random(4000) < 0.1
    predicted = np.where(wrong, 1 - strata, strata)
    values = strata + rng.normal(0, 0.5, 4000)
    tag = (rng.random(4000) < 0.1 + 0.7 * strata).astype(int)
    assert of_ranks(values, predicted, 2).effect[1] > 0.6
    assert of_table(tag, predicted, 2).effect[1] > 0.4
    for within in (of_ranks_within(values, predicted, 2, strata), of_table_within(tag, predicted, 2, strata)):
        assert within.p.min() > 0.01
        assert np.abs(within.effect).max() < 0.1
    used = np.where(wrong, 1 - strata, values > 0.5)  # the number itself decides
    assert of_ranks_within(values, used.astype(int), 2, strata).effect[1] > 0.3


def test_too_few_images_say_nothing():
    classes = np.array([0] * (LEAST - 1) + [1] * 50)
    values, levels = np.arange(len(classes), dtype=float), np.arange(len(classes)) % 2
    for found in (of_ranks(values, classes, 3), of_table(levels, classes, 3)):
        assert np.isnan(found.effect).all()
        assert np.isnan(found.p).all()
    same = of_ranks(np.ones(100), np.arange(100) % 2, 2)
    assert np.isnan(same.p).all()


def test_holm():
    found = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]
    assert len(holm(np.array([]))) == 0


# ---- a run ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Given:
    """As much of `Evidence` as is asked, without a run."""

    attributes: dict[str, np.ndarray]
    further: evidence.WithNameParts
    predicted: np.ndarray
    labelled: np.ndarray
    label: pa.ChunkedArray
    good: np.ndarray
    names: tuple[str, ...] = ("tank", "woods", "car")


def given(
    predicted: np.ndarray,
    labels: Sequence[str | None] | None = None,
    further: Mapping[str, Sequence[object]] | None = None,
    names: Sequence[str] | None = None,
    **attributes: np.ndarray,
) -> evidence.Evidence:
    count = len(predicted)
    classes = ("tank", "woods", "car")
    texts = labels or [None] * count
    columns = {k: pa.chunked_array([pa.array(v)]) for k, v in (further or {}).items()}
    found = Given(
        {k: v.astype(np.float32) for k, v in attributes.items()},
        evidence.WithNameParts(columns, pa.chunked_array([pa.array(names or ["x"] * count)])),
        predicted,
        np.array([classes.index(x) if x in classes else -1 for x in texts]),
        pa.chunked_array([pa.array(texts, pa.string())]),
        np.ones(count, bool),
    )
    return found  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


def of(found: Associations, attribute: str, name: str = "tank") -> Association | None:
    return next((a for a in found.found if (a.attribute, a.class_name) == (attribute, name)), None)


def test_the_tank_and_the_weather(make_run: MakeRun):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    sunny = np.where(rng.random(400) < 0.9, labels == 0, labels != 0)
    brightness = np.where(sunny, 0.7, 0.4) + rng.normal(0, 0.08, 400)
    predicted: list[int | None] = [int(p) for p in np.where(brightness > 0.55, 0, 1)]
    predicted[7] = None
    run = make_run(
        predicted,
        labels=[("tank", "woods")[x] for x in labels],
        attributes={"brightness": brightness, "contrast": rng.random(400)},
        further={
            "weather": [("rain", "sun")[int(s)] for s in sunny],
            "camera": [f"camera {i}" for i in rng.integers(0, 4, 400)],
            "id": [f"id {i}" for i in range(400)],
        },
    )
    found = associations.find(evidence.read(run))
    assert {a.attribute for a in found.found} == {"brightness", "weather"}
    first = found.found[0]
    assert (first.attribute, first.kind, first.class_name, first.class_index) == ("brightness", "number", "tank", 0)
    assert first.with_prediction > 0.98 > 0.9 > (first.with_label or 0) > 0.6
    assert (first.beyond_label or 0) > 0.9
    assert first.p < 1e-9
    assert (first.p_beyond or 1) < 1e-6
    of_tank = [p == 0 for p in predicted]
    assert first.images == sum(of_tank)
    assert first.median == pytest.approx(np.median(brightness[of_tank]), abs=1e-6)
    weather = of(found, "weather")
    assert weather is not None
    assert weather.levels["sun"][0] == pytest.approx(np.mean(sunny[of_tank]))
    assert weather.median is None
    assert sum(own for own, _ in weather.levels.values()) == pytest.approx(1)
    other = of(found, "brightness", "woods")
    assert other is not None
    assert other.with_prediction == pytest.approx(-first.with_prediction)
    assert other.median == first.median_of_others
    # brightness, contrast, weather and camera, of two classes, with the prediction and beyond the label.
    assert found.tried == 16


def test_medians_against_numpy():
    rng = np.random.default_rng(0)
    values, predicted = np.round(rng.normal(size=501), 1), rng.integers(-1, 3, 501)
    for c, (own, others) in enumerate(associations._medians(values, predicted, 4)):
        assert own == (pytest.approx(np.median(values[predicted == c])) if c < 3 else None)
        assert others == pytest.approx(np.median(values[predicted != c]))


def test_texts_of_which_there_are_many_are_no_perfect_association():
    rng = np.random.default_rng(0)
    predicted = rng.integers(0, 2, 300)
    found = associations.find(
        given(
            predicted,
            further={
                "id": [f"{p}-{i}" for i, p in enumerate(predicted)],
                "pairs": [f"{p}-{i // 2}" for i, p in enumerate(predicted)],
                "source": [f"{p}-{i % 3}" for i, p in enumerate(predicted)],
                "nothing": [None] * 300,
            },
        )
    )
    assert {a.attribute for a in found.found} == {"source"}
    assert found.found[0].with_prediction == pytest.approx(1, abs=0.01)
    assert found.found[0].beyond_label is None


def test_a_column_that_is_the_label_is_left_out():
    labels = np.random.default_rng(0).integers(0, 2, 300)
    texts: list[str | None] = [("tank", "woods")[x] for x in labels]
    names = [f"{('a', 'b')[x]}/{x}.jpg" for x in labels]
    found = associations.find(given(labels, texts, {"other": [f"{x}" for x in labels]}, names))
    assert (found.found, found.tried) == ((), 0)
    texts[0] = "car"  # and now it says something else
    assert of(associations.find(given(labels, texts, names=names)), "folder") is not None


def test_whether_a_column_is_given_may_go_with_the_class():
    predicted = np.arange(200) % 2
    iso = [100 + i % 7 if p else None for i, p in enumerate(predicted)]
    found = associations.find(given(predicted, further={"iso": iso}))
    assert {a.attribute for a in found.found} == {"iso is given"}
    assert found.found[0].levels == {"yes": (0.0, 1.0), "no": (1.0, 0.0)}


def test_names_and_booleans_are_categories():
    predicted = np.arange(200) % 2
    names = [f"{'night' if p else 'day'}/{i}.jpg" for i, p in enumerate(predicted)]
    found = associations.find(given(predicted, further={"flash": [bool(p) for p in predicted]}, names=names))
    assert {a.attribute for a in found.found} == {"flash", "folder"}


def test_nothing_to_compare():
    for predicted in (np.zeros(100, int), np.full(100, -1), np.array([0]), np.arange(3)):
        found = associations.find(given(predicted, brightness=np.random.default_rng(0).random(len(predicted))))
        assert found == Associations(0, ())
    alike = given(np.arange(100) % 2, ["tank"] * 100, brightness=np.full(100, np.nan), red=np.ones(100))
    assert associations.find(alike) == Associations(0, ())


def test_a_sample_is_enough(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(associations, "SAMPLE", 500)
    rng = np.random.default_rng(0)
    predicted = rng.integers(0, 3, 5000)
    e = given(predicted, brightness=predicted + rng.random(5000), contrast=rng.random(5000))
    found = associations.find(e, seed=1)
    assert found == associations.find(e, seed=1)
    assert found != associations.find(e, seed=2)
    assert {a.attribute for a in found.found} == {"brightness"}
    assert sum(a.images for a in found.found if a.attribute == "brightness") in range(300, 501)


def null_draw(seed: int) -> evidence.Evidence:
    """Attributes that hang together and go with the label, not beyond it; of a network that errs by chance."""
    rng = np.random.default_rng(seed)
    count = 240
    predicted = rng.integers(0, 3, count)
    labels: list[str | None] = [("tank", "woods", "car")[x] for x in rng.integers(0, 3, count)]
    light = rng.normal(size=count)
    return given(
        predicted,
        labels,
        {
            "camera": [f"{i}" for i in np.minimum(rng.geometric(0.3, count), 20)],
            "day": [f"{i}" for i in rng.integers(0, 60, count)],
            "flash": [bool(x) for x in rng.random(count) < 0.1],
        },
        brightness=light,
        red=light + rng.normal(0, 0.2, count),
        sharpness=rng.exponential(size=count) ** 3,
        width=np.round(rng.random(count) * 3),
    )


def test_where_nothing_is_planted_nothing_is_found(monkeypatch: pytest.MonkeyPatch):
    """Named at all at a level of 5 %: in at most 5 % of draws, and 2 standard deviations; small effects count here."""
    monkeypatch.setattr(associations, "SMALL", 0.0)
    named = [bool(associations.find(null_draw(seed)).found) for seed in range(200)]
    assert np.mean(named) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
    monkeypatch.setattr(associations, "holm", lambda p: p)  # without the correction nearly every draw has something
    assert np.mean([bool(associations.find(null_draw(seed)).found) for seed in range(20)]) > 0.5
