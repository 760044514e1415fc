from __future__ import annotations

import csv
import shutil
from typing import TYPE_CHECKING

import av
import pytest

from features.errors import ConfigError
from features.synthetic.archive import Archive, make_archive

if TYPE_CHECKING:
    from pathlib import Path

NUM_CLIPS = 8


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("archive"), num_clips=NUM_CLIPS)


def _stream_types(clip: Path) -> set[str]:
    with av.open(str(clip)) as container:
        return {stream.type for stream in container.streams}


def _subtitles(clip: Path) -> list[tuple[float, float, str]]:
    with av.open(str(clip)) as container:
        packets = [packet for packet in container.demux(container.streams.subtitles[0]) if packet.size > 2]
        return [
            (
                float(packet.pts * packet.time_base),
                float(packet.duration * packet.time_base),
                bytes(packet)[2:].decode(),
            )
            for packet in packets
        ]


def test_clips_are_h264_and_aac_of_four_to_eight_seconds(archive: Archive) -> None:
    for clip in archive.clips:
        if clip in (archive.truncated, archive.silent):
            continue
        with av.open(str(clip)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            assert container.streams.audio[0].codec_context.name == "aac"
            pictures = [frame.time for frame in container.decode(video=0)]
        assert 4.0 <= pictures[-1] + 1 / 12 <= 8.1
        assert pictures[0] == 0.0


def test_texts_are_half_embedded_half_sidecars(archive: Archive) -> None:
    sound = [clip for clip in archive.clips if clip not in (archive.truncated, archive.textless, archive.duplicate)]
    sidecars = [clip for clip in sound if clip.with_suffix(".srt").exists()]
    embedded = [clip for clip in sound if "subtitle" in _stream_types(clip)]
    assert set(sidecars) | set(embedded) == set(sound)
    assert not set(sidecars) & set(embedded)
    assert abs(len(sidecars) - len(embedded)) <= 1
    for start, duration, text in _subtitles(embedded[0]):
        assert start >= 0.2
        assert 1.0 < duration < 8.0
        assert text.endswith(".")
    assert "-->" in sidecars[0].with_suffix(".srt").read_text()


def test_the_odd_clips_are_odd(archive: Archive) -> None:
    assert _stream_types(archive.silent) & {"audio", "video"} == {"video"}
    assert "subtitle" not in _stream_types(archive.textless)
    assert not archive.textless.with_suffix(".srt").exists()
    assert archive.duplicate.read_bytes() == archive.original.read_bytes()
    with pytest.raises(av.error.InvalidDataError):
        av.open(str(archive.truncated))
    assert len({archive.silent, archive.textless, archive.truncated, archive.original, archive.duplicate}) == 5


def test_every_clip_has_a_label(archive: Archive) -> None:
    with archive.labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["uri"] for row in rows] == [clip.name for clip in archive.clips]
    assert {row["task"] for row in rows} == {"sentiment"}
    assert {row["class"] for row in rows} == {"negative", "positive"}
    assert rows[0]["class"] == rows[-1]["class"]


def test_same_seed_same_bytes_and_progress(archive: Archive, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    again = make_archive(
        tmp_path / "new", num_clips=NUM_CLIPS, on_progress=lambda done, all_: seen.append((done, all_))
    )
    assert seen == [(done, NUM_CLIPS) for done in range(1, NUM_CLIPS + 1)]
    for clip, other in zip(archive.clips, again.clips, strict=True):
        assert clip.read_bytes() == other.read_bytes()


def test_a_folder_that_holds_the_archive_is_left_alone(archive: Archive) -> None:
    before = {path: path.stat().st_mtime_ns for path in archive.folder.iterdir()}
    assert make_archive(archive.folder, num_clips=NUM_CLIPS) == archive
    assert {path: path.stat().st_mtime_ns for path in archive.folder.iterdir()} == before


def test_an_unfinished_archive_is_finished(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(archive.folder, folder)
    marker = folder / ".triptych-archive.json"
    marker.write_text(marker.read_text().replace("true", "false"))
    (folder / "labels.csv").unlink()
    assert make_archive(folder, num_clips=NUM_CLIPS).labels.exists()


def test_a_folder_of_something_else_is_refused_and_untouched(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="other files"):
        make_archive(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.mp4"]
    with pytest.raises(ConfigError, match="seed 8"):
        make_archive(archive.folder, num_clips=NUM_CLIPS, seed=8)
    with pytest.raises(ConfigError, match="is a file"):
        make_archive(tmp_path / "holiday.mp4")


def test_a_tiny_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 8"):
        make_archive(tmp_path / "x", num_clips=7)
    assert not (tmp_path / "x").exists()
