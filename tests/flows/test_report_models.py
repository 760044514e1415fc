"""The report, the card and `train` tell the same of a model: its calibration, and its errors of a regression."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from features.fusion.checkpoint import load_model
from features.fusion.figures import agreement_words, calibration_words
from features.store import Store
from features.store.models import find_model, model_folder
from flows.report.collect import collect
from flows.report.words import interval_words, three_digits
from tests.flows.conftest import RECIPE, SPECS
from tests.store.making import SECOND, media, put

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.flows.conftest import Outcome

NUM_MEDIA = 120
TASKS = """
[[tasks]]
name = "mood"
classes = ["low", "high"]

[[tasks]]
name = "valence"
kind = "regression"
"""
QUALITY = {
    "black_share": 0.75, "frozen_share": 0.0, "blurred_share": 0.0, "silence_share": 0.25, "clipped_share": 0.0,
    "loudness_lufs": -50.0,
}  # fmt: skip


@pytest.fixture
def trained(tmp_path: Path, triptych: Callable[..., Outcome]) -> tuple[Store, Outcome]:
    """A model of a mood and a number that the features show, more or less."""
    store = Store.create(tmp_path / "archive")
    random = np.random.default_rng(0)
    valence = random.normal(size=NUM_MEDIA)
    ids = [f"m{number:03}" for number in range(NUM_MEDIA)]
    for spec in SPECS:
        store.ensure(spec.table, spec)
        signal = valence[:, None] + random.normal(size=(NUM_MEDIA, *spec.shape))
        rows = [
            {"media_id": name, "start_us": 0, "end_us": 10 * SECOND, "values": row.tolist()}
            for name, row in zip(ids, signal, strict=True)
        ]
        put(store, spec.table, "b1", rows)
        put(store, spec.coverage_table, "b1", [{"media_id": n, "status": "ok", "num_rows": 1} for n in ids])
    put(store, "media", "b1", [media(name, uri=f"/v/{name}.mp4", has_video=True) | _quality(name) for name in ids])
    lines = [f"{name},mood,{'high' if v > 0 else 'low'}," for name, v in zip(ids, valence, strict=True)]
    lines += [f"{name},valence,,{v}" for name, v in zip(ids, valence, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["media,task,class,number", *lines]) + "\n", encoding="utf-8")
    head, _, rest = RECIPE.partition("[task]")
    recipe = head + TASKS + rest[rest.index("[[features]]") :].replace("epochs = 2", "epochs = 30")
    (tmp_path / "two.toml").write_text(recipe, encoding="utf-8")
    assert triptych("--store", store.root, "label", "mood", tmp_path / "labels.csv").status == 0
    done = triptych("--store", store.root, "train", tmp_path / "two.toml")
    assert done.status == 0, done.err
    return store, done


def _quality(name: str) -> dict[str, float]:
    """The first media is black, quiet, and silent at times; the others are fine."""
    fine = dict.fromkeys(QUALITY, 0.0) | {"loudness_lufs": -23.0}
    return QUALITY if name == "m000" else fine


def test_the_report_the_card_and_train_tell_the_same(
    trained: tuple[Store, Outcome], triptych: Callable[..., Outcome], tmp_path: Path
) -> None:
    store, told = trained
    ref = find_model(store, "moods")
    mood, valence = load_model(model_folder(store, ref)).comparison.tasks
    (calibration,), (agreement,) = mood.calibration, valence.agreement
    assert triptych("--store", store.root, "report", "--out", tmp_path / "report.html").status == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    card = triptych("--store", store.root, "models", ref.key).out
    assert calibration_words(calibration) in told.out
    assert agreement_words(agreement) in told.out
    assert agreement_words(agreement) in card
    for value in (
        calibration.ece_before,
        calibration.ece,
        calibration.brier_before,
        calibration.brier,
        calibration.nll,
    ):
        assert value is not None
        assert f'<td class="number">{three_digits(value)}</td>' in page
        assert f"{value:.3f}" in card
    assert interval_words(agreement.rmse) in page
    assert interval_words(agreement.pearson) in page
    assert page.count("<svg") == 3  # the comparison, the reliability diagram, the scatter


def test_what_is_kept_is_what_it_says(trained: tuple[Store, Outcome]) -> None:
    store, _ = trained
    mood, valence = load_model(model_folder(store, find_model(store, "moods"))).comparison.tasks
    (calibration,), (agreement,) = mood.calibration, valence.agreement
    assert mood.agreement == ()
    assert valence.calibration == ()
    assert calibration.brier == mood.fused.test.brier
    for bins in (calibration.bins, calibration.bins_before):
        assert sum(item.num_rows for item in bins) == mood.num_rows[2]
    truth, said = np.array([(point.truth, point.predicted) for point in agreement.points]).T
    assert len(truth) == valence.num_rows[2]
    assert np.abs(truth - said).mean() == pytest.approx(valence.fused.test.mae)
    assert agreement.rmse[0] == pytest.approx(valence.fused.test.rmse)
    assert agreement.pearson[1] > 0.3  # the features show it


def test_a_model_of_before_is_still_read(trained: tuple[Store, Outcome]) -> None:
    """What older models do not state is left out."""
    store, _ = trained
    comparison = load_model(model_folder(store, find_model(store, "moods"))).comparison
    data = json.loads(comparison.to_json())
    for task in data["tasks"]:
        del task["agreement"]
        for found in task["calibration"]:
            del found["brier"], found["brier_before"], found["bins_before"]
    mood, valence = type(comparison).from_json(json.dumps(data)).tasks
    assert valence.agreement == ()
    assert "Brier" not in calibration_words(mood.calibration[0])


def test_the_quality_of_media_is_told(trained: tuple[Store, Outcome]) -> None:
    rows = {row.fault: row for row in collect(trained[0]).quality}
    black, silent, quiet = rows["black pictures"], rows["silence"], rows["quiet sound"]
    assert (black.num_media, black.some, black.much) == (NUM_MEDIA, 1, 1)
    assert black.mean == pytest.approx(75 / NUM_MEDIA)
    assert (silent.some, silent.much) == (1, 0)
    assert quiet.much == 1
    assert rows["clipped sound"].some == 0
