from __future__ import annotations

import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from features.errors import ModelError
from features.fusion.checkpoint import load_model, save_model
from features.fusion.compare import compare
from features.fusion.loaded import LoadedModel
from features.fusion.scoring import score_segments

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.fusion.compare import Comparison
    from features.fusion.training import Trained
    from tests.fusion.conftest import Archive

WHEN = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def compared(archive: Archive) -> tuple[Trained, Comparison]:
    return compare(archive.recipe, archive.examples())


@pytest.fixture
def save(archive: Archive, compared: tuple[Trained, Comparison]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        trained, comparison = compared
        save_model(
            folder,
            trained,
            archive.recipe,
            comparison,
            feature_specs=archive.specs(),
            table_versions={"labels/mood": 3},
            created_at=WHEN,
        )
        return folder

    return write


def scores_of(model: LoadedModel, archive: Archive) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = score_segments(
        model, media=archive.media, features=archive.features, transcripts_sources=archive.sources
    ).to_pylist()
    return rows


def test_what_is_saved_is_loaded(
    archive: Archive, compared: tuple[Trained, Comparison], save: Callable[[Path], Path], tmp_path: Path
) -> None:
    model = load_model(save(tmp_path / "moods" / "1"))
    trained, comparison = compared
    assert model.recipe == archive.recipe
    assert model.comparison == comparison
    assert (model.classes, model.priors, model.widths) == (trained.classes, trained.priors, trained.widths)
    assert model.table_versions == {"labels/mood": 3}
    assert model.created_at == "2026-01-02T00:00:00+00:00"
    assert sorted(path.name for path in (tmp_path / "moods" / "1").iterdir()) == [
        "card.md",
        "epochs.csv",
        "model.json",
        "weights.safetensors",
    ]
    assert [path.name for path in (tmp_path / "moods").iterdir()] == ["1"]


def test_the_card_states_its_features(save: Callable[[Path], Path], tmp_path: Path) -> None:
    card = json.loads((save(tmp_path / "m") / "model.json").read_text())
    assert card["tasks"] == ["mood"]
    assert card["classes"] == {"mood": ["low", "high"]}
    assert card["features"]["sounds@1"]["spec"]["shape"] == [8]
    assert len(card["features"]["sounds@1"]["fingerprint"]) == 16
    assert [item["seed"] for item in card["seeds"]] == [0, 1]


def test_the_same_scores_in_a_fresh_process(archive: Archive, save: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = save(tmp_path / "m")
    tables = {"media": archive.media, "features": archive.features, "transcripts_sources": archive.sources}
    (tmp_path / "tables").write_bytes(pickle.dumps(tables))
    code = """
import pathlib, pickle, sys
from features.fusion.checkpoint import load_model, save_model
from features.fusion.scoring import score_segments
folder = pathlib.Path(sys.argv[1])
scores = score_segments(load_model(folder / "m"), **pickle.loads((folder / "tables").read_bytes()))
(folder / "scores").write_bytes(pickle.dumps(scores.to_pylist()))
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert pickle.loads((tmp_path / "scores").read_bytes()) == scores_of(load_model(folder), archive)


def test_a_model_is_never_overwritten(save: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = save(tmp_path / "m")
    before = (folder / "model.json").read_bytes()
    with pytest.raises(ModelError, match="a model is never overwritten"):
        save(folder)
    assert (folder / "model.json").read_bytes() == before


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no model at .*gone.*triptych train"):
        load_model(tmp_path / "gone")


def test_a_model_that_cannot_be_written_leaves_nothing(save: Callable[[Path], Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="cannot write model"):
        save(tmp_path / "file" / "m")


def cut_weights(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(folder: Path) -> None:
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def cut_card(folder: Path) -> None:
    path = folder / "model.json"
    path.write_text(path.read_text()[:300])


def drop_a_key(folder: Path) -> None:
    path = folder / "model.json"
    card = json.loads(path.read_text())
    del card["classes"]
    path.write_text(json.dumps(card))


@pytest.mark.parametrize("damage", [cut_weights, flip_a_bit, cut_card, drop_a_key])
def test_damage_is_told(save: Callable[[Path], Path], tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = save(tmp_path / "m")
    damage(folder)
    with pytest.raises(ModelError, match=r"model '.*m' is damaged \(.+\); copy it again"):
        load_model(folder)


def test_a_missing_file_is_named(save: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = save(tmp_path / "m")
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"weights.safetensors' is missing"):
        load_model(folder)


def test_a_newer_format_is_refused(save: Callable[[Path], Path], tmp_path: Path) -> None:
    path = save(tmp_path / "m") / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
    with pytest.raises(ModelError, match=r"has format 99, this Triptych reads up to 2"):
        load_model(tmp_path / "m")


def test_features_of_other_weights_are_refused(archive: Archive, save: Callable[[Path], Path], tmp_path: Path) -> None:
    model = load_model(save(tmp_path / "m"))
    model.check_features(archive.specs())
    model.check_features({})
    other = json.dumps({**json.loads(archive.specs()["sounds@1"]), "weights_fingerprint": "other"})
    with pytest.raises(ModelError, match=r"learned from feature sounds@1 of fingerprint \w+, the store's is"):
        model.check_features({"sounds@1": other})
