"""A long video that workers share: the same rows as undivided, one letter where a part fails, and its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from features.schema import BASE_TABLES, OPTIONAL_TABLES
from features.store import Store, read_table
from features.store.verify import verify_store
from pipelines import long_media
from tests.media.generate import SECOND, Cue, Shown, Sound, tone, write_media
from tests.pipelines.clips import make_clip
from tests.pipelines.running import config, ingest_here

if TYPE_CHECKING:
    from pathlib import Path

TABLES = (*BASE_TABLES, *OPTIONAL_TABLES, "media", "source_results")
OBSERVED = {"shots": True, "motion": True}
UNLIKE = {"batch_id", "ingested_at", "finished_at"}


def film(path: Path, seconds: int = 130) -> Path:
    rng = np.random.default_rng(3)
    pictures = [Shown(i * SECOND // 4, int(grey)) for i, grey in enumerate(rng.integers(30, 220, seconds * 4))]
    cues = [Cue(58 * SECOND, 62 * SECOND, "over the border")]
    return write_media(path, pictures=pictures, sounds=[Sound(0, tone(seconds - 1, level=0.2))], cues=cues)


def rows(store: Store) -> dict[str, list[dict[str, Any]]]:
    """All rows of a store, but for what tells of their making."""
    return {
        table: sorted(
            ({name: value for name, value in row.items() if name not in UNLIKE} for row in found.to_pylist()),
            key=lambda row: (row["media_id"], row.get("t_us", row.get("start_us", 0))),
        )
        for table in TABLES
        for found in [read_table(store, table)]
    }


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    film(folder / "film.mp4")
    make_clip(folder / "clip.mp4", grey=90, hertz=440)
    return folder


def test_shared_is_as_undivided(videos: Path, tmp_path: Path) -> None:
    whole, _ = ingest_here(tmp_path / "whole", config([videos], span_minutes=0, **OBSERVED))
    shared, _ = ingest_here(tmp_path / "shared", config([videos], span_minutes=1, **OBSERVED))
    assert rows(shared) == rows(whole)
    assert read_table(shared, "failures").num_rows == read_table(whole, "failures").num_rows == 0
    assert all(rows(shared).values())
    assert len(shared.files("frames")) == 3, "of the clip, and of two spans"
    assert verify_store(shared).findings == ()


def test_a_part_that_fails_costs_the_media(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is torn while it is decoded."""
    real = long_media._decode

    def torn(task: long_media.PartTask, *given: Any) -> long_media.PartDone:
        if task.part.number == 2:
            (videos / "film.mp4").rename(tmp_path / "film.mp4")
            try:
                return real(task, *given)
            finally:
                (tmp_path / "film.mp4").rename(videos / "film.mp4")
        return real(task, *given)

    monkeypatch.setattr(long_media, "_decode", torn)
    store, (summary,) = ingest_here(tmp_path / "store", config([videos], span_minutes=1))
    assert summary.num_failures == 1
    (letter,) = read_table(store, "failures").to_pylist()
    assert letter["uri"] == str(videos / "film.mp4")
    assert {row["name"] for row in read_table(store, "media").to_pylist()} == {"clip.mp4"}
    assert {row["media_id"] for row in read_table(store, "frames").to_pylist()} == {
        row["media_id"] for row in read_table(store, "media").to_pylist()
    }
    assert verify_store(store).findings == ()
