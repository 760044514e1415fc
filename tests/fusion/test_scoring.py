from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.errors import ConfigError, ModelError
from features.fusion.checkpoint import load_model, save_model
from features.fusion.compare import compare
from features.fusion.loaded import LoadedModel
from features.fusion.scoring import score_segments
from features.schema import check_rows, data_schema_of

if TYPE_CHECKING:
    from tests.fusion.conftest import Archive


@pytest.fixture(scope="module")
def model(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("models") / "moods"
    trained, comparison = compare(archive.recipe, archive.examples())
    when = datetime(2026, 1, 2, tzinfo=UTC)
    save_model(
        folder, trained, archive.recipe, comparison, feature_specs=archive.specs(), table_versions={}, created_at=when
    )
    return load_model(folder)


def score(model: LoadedModel, archive: Archive, **changes: Any) -> pa.Table:
    arguments: dict[str, Any] = {
        "media": archive.media,
        "features": archive.features,
        "transcripts_sources": archive.sources,
    }
    return score_segments(model, **{**arguments, **changes})


def lacking(archive: Archive, media_id: str, *keys: str) -> dict[str, pa.Table]:
    return {
        key: rows.filter(pc.not_equal(rows["media_id"], media_id)) if key in keys else rows
        for key, rows in archive.features.items()
    }


def test_rows_are_those_of_the_table(model: LoadedModel, archive: Archive) -> None:
    scores = score(model, archive)
    check_rows("scores/moods@1", scores)
    assert scores["media_id"].to_pylist() == archive.media["media_id"].to_pylist()
    assert set(scores["prediction"].to_pylist()) == {"low", "high"}
    assert not any(scores["abstained"].to_pylist())
    for row in scores.to_pylist():
        assert sum(row["probabilities"]) == pytest.approx(1)
        assert model.classes["mood"][int(np.argmax(row["probabilities"]))] == row["prediction"]
        assert row["present"] == ["video", "audio", "text"]
        assert len(row["contributions"]) == 3


def test_it_learned_something(model: LoadedModel, archive: Archive) -> None:
    truth = dict(zip(archive.labels["media_id"].to_pylist(), archive.labels["class"].to_pylist(), strict=True))
    scores = score(model, archive)
    right = [truth[row["media_id"]] == row["prediction"] for row in scores.to_pylist()]
    assert np.mean(right) > 0.85


def test_batches_do_not_show(model: LoadedModel, archive: Archive) -> None:
    whole = score(model, archive)
    parts = [score(model, archive, media=archive.media.slice(start, 7)) for start in range(0, 60, 7)]
    assert pa.concat_tables(parts).to_pylist() == whole.to_pylist()
    assert score(model, archive).equals(whole)


def test_nothing_present_is_abstained_from(model: LoadedModel, archive: Archive) -> None:
    name = archive.media["media_id"][3].as_py()
    row = score(model, archive, features=lacking(archive, name, *archive.features)).to_pylist()[3]
    assert row["abstained"]
    assert row["prediction"] is row["probabilities"] is row["contributions"] is None
    assert row["present"] == []


def test_present_and_contributions_go_together(model: LoadedModel, archive: Archive) -> None:
    name = archive.media["media_id"][3].as_py()
    row = score(model, archive, features=lacking(archive, name, "sounds@1", "pictures@1")).to_pylist()[3]
    assert row["present"] == ["text"]
    best = model.classes["mood"].index(row["prediction"])
    assert row["contributions"] == pytest.approx([row["probabilities"][best] - model.priors["mood"][best]], abs=1e-6)


def test_a_contribution_is_what_leaving_out_costs(model: LoadedModel, archive: Archive) -> None:
    name = archive.media["media_id"][5].as_py()
    row = score(model, archive).to_pylist()[5]
    without = score(model, archive, features=lacking(archive, name, "sounds@1")).to_pylist()[5]
    best = model.classes["mood"].index(row["prediction"])
    cost = row["probabilities"][best] - without["probabilities"][best]
    assert row["contributions"][1] == pytest.approx(cost, abs=1e-6)


def test_recognised_text_is_masked_as_in_training(model: LoadedModel, archive: Archive) -> None:
    sources = dict.fromkeys(archive.sources, "asr:pocketsphinx")
    assert score(model, archive, transcripts_sources=sources)["present"].to_pylist()[0] == ["video", "audio"]


def test_refused_and_undecoded_media_have_no_rows(model: LoadedModel, archive: Archive) -> None:
    rows = archive.media.to_pylist()
    rows[0]["consent"], rows[1]["duration_us"], rows[2]["consent"] = "refused", None, None
    scores = score(model, archive, media=pa.Table.from_pylist(rows, schema=archive.media.schema))
    assert scores["media_id"].to_pylist() == archive.media["media_id"].to_pylist()[2:]


def test_windows_and_empty_batches(model: LoadedModel, archive: Archive) -> None:
    assert score(model, archive, segmentation="window:1s").num_rows == 240
    empty = score(model, archive, media=archive.media.slice(0, 0))
    check_rows("scores/moods@1", empty)
    assert empty.num_rows == 0


def test_empty_feature_tables_abstain(model: LoadedModel, archive: Archive) -> None:
    features = {key: rows.slice(0, 0) for key, rows in archive.features.items()}
    assert all(score(model, archive, features=features)["abstained"].to_pylist())


def test_wrong_input_is_told(model: LoadedModel, archive: Archive) -> None:
    with pytest.raises(ConfigError, match="wants feature 'pictures@1'"):
        score(model, archive, features={})
    with pytest.raises(ConfigError, match="'utterances' needs the rows of transcripts"):
        score(model, archive, segmentation="utterances")
    with pytest.raises(ModelError, match=r"\[8\] numbers, 12 were expected"):
        score(model, archive, features={**archive.features, "pictures@1": archive.features["sounds@1"]})


def test_shots_are_scored_one_by_one(model: LoadedModel, archive: Archive) -> None:
    first = archive.media["media_id"][0].as_py()
    spans = [(0, 1_500_000), (1_500_000, 4_000_000)]
    rows = [{"media_id": first, "start_us": start, "end_us": end, "begins": "cut"} for start, end in spans]
    shots = pa.Table.from_pylist(rows, schema=data_schema_of("shots@1"))
    scores = score(model, archive, segmentation="shots", shots=shots)
    assert list(zip(scores["start_us"].to_pylist(), scores["end_us"].to_pylist(), strict=True)) == spans
    seen = [{**row, "has_video": True} for row in archive.media.slice(0, 2).to_pylist()]
    video = pa.Table.from_pylist(seen, schema=archive.media.schema)
    with pytest.raises(ConfigError, match="1 of 2 media with video have no shots"):
        score(model, archive, segmentation="shots", shots=shots, media=video)
    with pytest.raises(ConfigError, match="needs the rows of shots@1"):
        score(model, archive, segmentation="shots")
