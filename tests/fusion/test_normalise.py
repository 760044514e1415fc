from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from features.fusion.configs import NormalisationConfig
from features.fusion.examples import Inputs
from features.fusion.normalise import normalise, owners_of, scales_of

COUNT = 60


@pytest.fixture
def inputs() -> Inputs:
    """Three owners of 20 rows each, whose vectors differ by a shift and a stretch of their own."""
    random = np.random.default_rng(0)
    owner = np.arange(COUNT) // 20
    values = random.normal(size=(COUNT, 4)) * (1 + owner[:, None]) + 10 * owner[:, None]
    steps = random.normal(size=(COUNT, 5, 3))
    lengths = random.integers(1, 6, COUNT)
    steps[np.arange(5) >= lengths[:, None]] = 0
    return Inputs(
        {"audio": values.astype(np.float32), "video": steps.astype(np.float32), "text": np.ones((COUNT, 7), np.int32)},
        {"audio": np.arange(COUNT) != 3, "video": np.ones(COUNT, bool), "text": np.ones(COUNT, bool)},
        {},
        {"video": lengths},
    )


OWNERS = tuple(f"s{row // 20}" for row in range(COUNT))


def test_scales_are_those_of_present_rows_and_real_steps(inputs: Inputs) -> None:
    rows = np.arange(30)
    scales = scales_of(inputs, rows)
    there = inputs.values["audio"][[row for row in rows if row != 3]].astype(np.float64)
    assert scales["audio"].mean == pytest.approx(there.mean(axis=0))
    assert scales["audio"].std == pytest.approx(there.std(axis=0))
    steps = np.concatenate([inputs.values["video"][row, : inputs.lengths["video"][row]] for row in rows])
    assert scales["video"].mean == pytest.approx(steps.mean(axis=0, dtype=np.float64))
    assert "text" not in scales  # ids are no quantities


def test_each_owner_has_the_scale_of_the_training_split(inputs: Inputs) -> None:
    scales = scales_of(inputs, np.arange(COUNT))
    found = normalise(inputs, OWNERS, scales, NormalisationConfig("subject", 10))
    for owner in range(3):
        rows = [row for row in range(20 * owner, 20 * owner + 20) if row != 3]
        assert found.values["audio"][rows].mean(axis=0) == pytest.approx(scales["audio"].mean, rel=1e-4, abs=1e-4)
        assert found.values["audio"][rows].std(axis=0) == pytest.approx(scales["audio"].std, rel=1e-4)
    assert np.array_equal(found.values["audio"][3], inputs.values["audio"][3])  # masked: nobody's row
    padding = np.arange(5) >= inputs.lengths["video"][:, None]
    assert not found.values["video"][padding].any()


def test_a_shift_and_a_stretch_of_one_owner_do_not_show(inputs: Inputs) -> None:
    scales, config = scales_of(inputs, np.arange(20)), NormalisationConfig("subject", 10)
    values = inputs.values["audio"].copy()
    values[40:] = values[40:] * 3 - 7
    other = Inputs({**inputs.values, "audio": values}, inputs.present, {}, inputs.lengths)
    one, two = (normalise(given, OWNERS, scales, config).values["audio"] for given in (inputs, other))
    assert one[40:] == pytest.approx(two[40:], rel=1e-3, abs=1e-3)


def test_an_owner_of_few_rows_falls_back_on_the_training_split(inputs: Inputs) -> None:
    owners = ("few",) * 9 + OWNERS[9:]
    found = normalise(inputs, owners, scales_of(inputs, np.arange(COUNT)), NormalisationConfig("subject", 10))
    assert np.array_equal(found.values["audio"][:9], inputs.values["audio"][:9])
    assert not np.array_equal(found.values["audio"][9:20], inputs.values["audio"][9:20])


def test_only_the_modalities_that_are_named_and_nothing_for_train(inputs: Inputs) -> None:
    scales = scales_of(inputs, np.arange(COUNT))
    found = normalise(inputs, OWNERS, scales, NormalisationConfig("subject", 10, ("video",)))
    assert np.array_equal(found.values["audio"], inputs.values["audio"])
    assert not np.array_equal(found.values["video"], inputs.values["video"])
    assert normalise(inputs, (), scales, NormalisationConfig()) is inputs


def test_owners_are_subjects_or_the_media_itself() -> None:
    media = pa.table({"media_id": ["a", "b", "c"], "subject_ids": [["p", "o"], [], None]})
    assert owners_of(NormalisationConfig("subject"), media, ["a", "b", "c", "a"]) == ("o+p", "b", "c", "o+p")
    assert owners_of(NormalisationConfig("media"), media, ["a", "b"]) == ("a", "b")
    assert owners_of(NormalisationConfig(), media, ["a", "b"]) == ()
