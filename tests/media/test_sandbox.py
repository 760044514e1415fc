"""The sandbox: the rows of a decode in this process, and what ends a child ends one media."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pyarrow as pa
import pytest

from features.errors import (
    DecodeError,
    DecoderCrashError,
    DecoderMemoryError,
    DecoderTimeoutError,
    LimitExceeded,
    MissingStreamError,
    SandboxError,
    StoreError,
    TriptychError,
)
from features.media.decode import decode_media, end_of, with_text
from features.media.limits import Limits
from features.media.options import DecodeOptions
from features.media.protocol import Request
from features.media.sandbox import Sandbox, close_sandboxes
from features.media.spool import Spool, SpoolWriter
from features.schema import data_schema_of
from features.store.rows import audio_rows, frame_rows, transcript_rows
from features.transcripts.sidecars import read_sidecars
from tests.media import bad_child
from tests.media.generate import Cue, Sound, steady, tone, write_media
from tests.pipelines.running import still_alive, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLES = ("frames", "audio", "transcripts")
CONTAINER = "container mov,mp4,m4a,3gp,3g2,mj2: video"
LIMITS = Limits(memory_bytes=512 << 20, output_bytes=32 << 20)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One for all tests: what one does to a child is no matter to the next."""
    close_sandboxes()
    with closing(Sandbox(bad_child.COMMAND)) as made:
        yield made


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_media(path, pictures=steady(2.5), sounds=[Sound(300_000, tone(2))], cues=[Cue(0, 900_000, "Hello")])


def decode(sandbox: Sandbox, path: Path, limits: Limits = LIMITS, **more: object) -> dict[str, pa.Table]:
    given = {"media_id": "m", "folder": path.parent, "tables": TABLES, "limits": limits} | more
    with closing(sandbox.decode(path, DecodeOptions(), **given)) as decoded:  # type: ignore[arg-type]
        return {
            table: pa.concat_tables([data_schema_of(table).empty_table(), *decoded.rows(table)]) for table in TABLES
        }


def ill(clip: Path, name: str, folder: Path) -> Path:
    path = folder / f"{name}.mp4"
    path.write_bytes(clip.read_bytes())
    return path


def test_rows_and_facts_are_those_of_a_decode_in_this_process(sandbox: Sandbox, clip: Path, tmp_path: Path) -> None:
    sidecar, bad = tmp_path / "clip.de.srt", tmp_path / "clip.fr.srt"
    sidecar.write_text("1\n00:00:01,000 --> 00:00:02,000\nGrüße\n")
    bad.write_text("no cue")
    sidecars = [sidecar, bad]
    here = decode_media(clip)
    said, problems = read_sidecars(sidecars, media=clip, end_us=end_of(here))
    here = with_text(here, said)
    options = {"media_id": "m", "folder": tmp_path, "tables": TABLES, "sidecars": sidecars}
    with closing(sandbox.decode(clip, DecodeOptions(), **options)) as there:  # type: ignore[arg-type]
        assert there.outcome.info == here.info
        assert there.outcome.missed == here.missed
        assert [(Path(one.part), one.error, one.message) for one in there.outcome.bad_sidecars] == [
            (path, type(error).__name__, str(error)) for path, error in problems
        ]
        expected = {
            "frames": frame_rows("m", here.frames),
            "audio": audio_rows("m", here.audio),
            "transcripts": transcript_rows("m", here.utterances),
        }
        assert len(problems) == 1
        assert there.outcome.num_rows == {table: rows.num_rows for table, rows in expected.items()}
        assert {table: pa.concat_tables(there.rows(table)) for table in TABLES} == expected


ENDS: dict[str, tuple[type[TriptychError], tuple[str, ...]]] = {
    "segfault": (
        DecoderCrashError,
        ("SIGSEGV", CONTAINER, "that is no slice", "bad_child.py"),
    ),
    "abort": (DecoderCrashError, ("SIGABRT", CONTAINER)),
    "leave": (DecoderCrashError, ("exit status 7",)),
    "killed": (DecoderCrashError, ("SIGKILL",)),
    "hog": (DecoderMemoryError, ("more than 512 MB", "--decode-memory-megabytes")),
    "flood": (LimitExceeded, ("more than 32 MB", "--decode-output-megabytes")),
    "slip": (DecodeError, ("KeyError: 'pts'",)),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_ends_a_child_costs_its_media_alone(name: str, sandbox: Sandbox, clip: Path, tmp_path: Path) -> None:
    kind, words = ENDS[name]
    path = ill(clip, name, tmp_path)
    with pytest.raises(kind) as raised:
        decode(sandbox, path)
    assert type(raised.value) is kind
    for word in (str(path), *words):
        assert word in str(raised.value)
    assert decode(sandbox, clip)["frames"].num_rows == 3
    assert len(bad_child.alive()) == 1, "one child, and nothing of the one before"


def test_a_hang_is_ended_and_says_where(sandbox: Sandbox, clip: Path, tmp_path: Path) -> None:
    path, beats = ill(clip, "hang", tmp_path), []
    with pytest.raises(DecoderTimeoutError, match=r"no sign of life for 2 s; container .*bad_child.py"):
        decode(sandbox, path, replace(LIMITS, stall_seconds=2), on_progress=lambda: beats.append(None))
    assert beats, "the limits are being watched meanwhile"
    with pytest.raises(DecoderTimeoutError, match="not done after 3 s"):
        decode(sandbox, path, replace(LIMITS, base_seconds=2.5, seconds_a_second=0.1))
    assert decode(sandbox, clip)["frames"].num_rows == 3


def test_a_media_that_comes_near_the_limit_is_refused(tmp_path: Path) -> None:
    """FFmpeg takes a refused allocation for damage, and would drop the picture without a word."""
    large = write_media(tmp_path / "large.mp4", pictures=steady(1.2, fps=5), size=(3840, 2160))
    with closing(Sandbox()) as sandbox, pytest.raises(DecoderMemoryError, match="more than 96 MB"):
        decode(sandbox, large, Limits(memory_bytes=96 << 20))


def test_one_child_decodes_media_after_media(sandbox: Sandbox, clip: Path, tmp_path: Path) -> None:
    decode(sandbox, clip)
    pid = sandbox.pid
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(clip.read_bytes()[:300])
    with pytest.raises(DecodeError, match=r"torn\.mp4"):
        decode(sandbox, torn)
    text = tmp_path / "text.mp4"
    text.write_text("no media")
    with pytest.raises(DecodeError, match=r"text\.mp4"):
        decode(sandbox, text)
    decode(sandbox, clip)
    assert sandbox.pid == pid is not None, "a file that is refused is no reason for a new child"


def test_errors_come_back_as_what_they_were(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "a.ass"
    path.write_text("[Script Info]\n\n[Events]\nFormat: Text\n")
    with pytest.raises(MissingStreamError) as raised:
        decode(sandbox, path)
    with pytest.raises(MissingStreamError) as here:
        decode_media(path)
    assert str(raised.value) == str(here.value)


def test_a_child_that_somebody_kills_is_no_fault_of_the_media(sandbox: Sandbox, clip: Path, tmp_path: Path) -> None:
    assert decode(sandbox, ill(clip, "once-killed", tmp_path))["frames"].num_rows == 3
    child = psutil.Process(sandbox.pid)
    child.kill()
    assert decode(sandbox, clip)["frames"].num_rows == 3


def test_a_child_dies_with_its_parent(clip: Path, tmp_path: Path) -> None:
    """Also while it hangs and can do nothing itself."""
    path = ill(clip, "hang", tmp_path)
    script = (
        "from pathlib import Path; from features.media.sandbox import Sandbox; from features.media.options import *; "
        f"Sandbox({bad_child.COMMAND!r}).decode(Path({str(path)!r}), DecodeOptions(), media_id='m', "
        f"folder=Path({str(tmp_path)!r}), tables={TABLES!r})"
    )
    parent = subprocess.Popen([sys.executable, "-c", script])
    try:
        (child,) = wait_for(lambda: psutil.Process(parent.pid).children())
        wait_for(lambda: any(".triptych-spool" in file or "deleted" in file for file in _files(child.pid)))
        assert os.getpgid(child.pid) == os.getpgid(parent.pid), "killing the group kills it"
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert still_alive([child]) == []
    assert [file.name for file in tmp_path.iterdir()] == ["hang.mp4"], "no spool is left"


def _files(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it was closed meanwhile
            found.append(str(link.readlink()))
    return found


def test_a_child_that_cannot_start_is_no_fault_of_the_media(clip: Path) -> None:
    for command, words in ((["false"], "exit status 1"), (["./no-such-program"], "No such file")):
        with closing(Sandbox(command)) as sandbox, pytest.raises(SandboxError, match=words):
            decode(sandbox, clip)


def test_a_spool_that_cannot_be_written_is_no_fault_of_the_media(sandbox: Sandbox, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot write '.*/nowhere' \(No such file"):
        decode(sandbox, clip, folder=tmp_path / "nowhere")
    request = Request("a.mp4", "m", {}, (), ("frames",), str(tmp_path), 1 << 30, 1 << 30)
    full = os.open("/dev/full", os.O_WRONLY)
    writer = SpoolWriter({"frames": full}, request)
    with pytest.raises(StoreError, match=rf"cannot write '{tmp_path}' \(No space left on device\)"):
        writer.write("frames", frame_rows("m", decode_media(clip).frames))
    os.close(full)


def test_a_damaged_spool_is_not_read(tmp_path: Path, clip: Path) -> None:
    request = Request("a.mp4", "m", {}, (), ("frames",), str(tmp_path), 1 << 30, 1 << 30)
    with Spool(tmp_path, ("frames",)) as spool:
        (file,) = spool.descriptors
        writer = SpoolWriter({"frames": file}, request)
        writer.write("frames", frame_rows("m", decode_media(clip).frames))
        writer.finish()
        assert spool.problem({"frames": 3}) == ""
        assert spool.problem({"frames": 4}) == "3 of 'frames', not 4"
        os.ftruncate(file, 3000)
        assert spool.problem({"frames": 3}).startswith("of 'frames': ")
