"""Small media of each kind, and damaged copies of them, through the real ingest; `make fuzz` does all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.media.generate import Sound, steady, tone, write_media
from tests.whole.fuzz import MEDIA, config_for, fuzz, media_files
from tests.whole.mutants import make_mutants

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

SMALL = ("video_90.mov", "te[s]t_ video ' _ .flv", "h265_video.mp4", "empty.flv", "sample.3gp", "videotest.mp4")


def generated(folder: Path) -> list[Path]:
    """One media of each container that can lose its end."""
    folder.mkdir()
    sounds = [Sound(0, tone(2))]
    front = {"movflags": "faststart"}
    return [
        write_media(folder / "a.mkv", pictures=steady(2), sounds=sounds),
        write_media(folder / "a.ts", pictures=steady(2), sounds=sounds),
        write_media(folder / "a.mp4", pictures=steady(2), sounds=sounds, options=front),
    ]


def test_damaged_copies_end_in_rows_or_in_one_letter(tmp_path: Path) -> None:
    originals = generated(tmp_path / "made") + (media_files(SMALL) if MEDIA.is_dir() else [])
    mutants = make_mutants(originals, tmp_path / "files", num_cuts=3, num_flips=3, seed=5)
    report = fuzz(mutants, tmp_path, config_for(tmp_path / "files", runner="in-process"))
    assert report.problems == ()
    assert len(report.looked.outcomes) == len(mutants)
    statuses = {outcome.status for outcome in report.looked.outcomes}
    assert {"done", "failed"} <= statuses, "the damage is neither none nor all that there is"
    print(report)


def test_the_same_seed_makes_the_same_copies(tmp_path: Path) -> None:
    original = tmp_path / "a.bin"
    original.write_bytes(bytes(range(256)) * 8)
    tiny = tmp_path / "tiny.bin"
    tiny.write_bytes(b"FLV")
    made = {}
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        mutants = make_mutants([original, tiny], tmp_path / name, num_cuts=20, num_flips=2, seed=seed)
        made[name] = {str(mutant.path.relative_to(tmp_path / name)): mutant.path.read_bytes() for mutant in mutants}
    assert made["one"] == made["two"] != made["other"]
    lengths = [len(content) for path, content in made["one"].items() if path.startswith("cut") and "a.bin" in path]
    assert lengths == sorted(set(lengths))
    assert len(lengths) == 20
    assert all(len(content) == 3 for path, content in made["one"].items() if path.startswith("flip") and "tiny" in path)
