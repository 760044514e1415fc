"""Ingest of media that crash, hang or fill memory: a dead letter each; and of a wave where every source fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from features.errors import AllMediaFailedError
from features.media import sandbox
from features.store import Store, read_table
from flows import stages
from flows.cli import main
from pipelines import ingest
from pipelines.runners import pipeline_options
from tests.media import bad_child
from tests.pipelines.running import config, ingest_here, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.waves import Wave
    from tests.pipelines.clips import Clips

ILL = {
    "segfault": "DecoderCrashError",
    "abort": "DecoderCrashError",
    "hang": "DecoderTimeoutError",
    "hog": "DecoderMemoryError",
    "flood": "LimitExceeded",
}


@pytest.fixture
def ill_decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A decoder that is ill with media of certain names."""
    sandbox.close_sandboxes()
    monkeypatch.setattr(sandbox, "COMMAND", bad_child.COMMAND)
    yield
    sandbox.close_sandboxes()


@pytest.mark.usefixtures("ill_decoder")
def test_each_bad_media_is_one_dead_letter_and_its_neighbours_are_whole(
    clips: Clips, copied: Callable[..., Clips], tmp_path: Path
) -> None:
    here = copied("noted.mp4", "wordless.mp4")
    for number, name in enumerate(ILL):
        bytes_of = clips.path("silent.mp4").read_bytes()
        here.path(f"{name}.mp4").write_bytes(bytes_of + bytes(number))  # other bytes, or they were duplicates
    given = config([here.folder], decode_stall_seconds=8, decode_memory_megabytes=512, decode_output_megabytes=32)
    store, (summary,) = ingest_here(tmp_path / "store", given)
    letters = {Path(row["uri"]).stem: row for row in read_table(store, "failures").to_pylist()}
    assert {name: row["error"] for name, row in letters.items()} == ILL
    assert summary.num_failures == len(ILL)
    for name, row in letters.items():
        assert str(here.path(f"{name}.mp4")) in row["message"]
        assert row["media_id"]
    sandbox.close_sandboxes()
    assert bad_child.alive() == []
    alone, _ = ingest_here(tmp_path / "alone", config([here.path("noted.mp4"), here.path("wordless.mp4")]))
    for table, rows in rows_of(alone, ("media", "frames", "audio", "transcripts")).items():
        assert rows_of(store, (table,))[table] == rows, table
    assert [path for path in store.path.rglob("*") if "spool" in path.name] == []


def ingested(folder: Path, root: Path) -> tuple[Store, Wave]:
    given = config([folder])
    store, (wave,) = stages.plan_ingest(given, str(root), stages.new_run_id())
    ingest.run(given, wave, pipeline_options(given))
    return store, wave


def torn(here: Clips, count: int) -> None:
    for number in range(count):
        here.path(f"torn{number}.mp4").write_bytes(here.path("torn.mp4").read_bytes() + bytes(number + 1))


def test_a_wave_where_every_source_fails_is_told(copied: Callable[..., Clips], tmp_path: Path) -> None:
    here = copied("torn.mp4")
    torn(here, 2)
    store, wave = ingested(here.folder, tmp_path / "store")
    with pytest.raises(
        AllMediaFailedError, match=r"3 of 3 \(3 DecodeError; such as: .*torn.*triptych doctor"
    ) as raised:
        stages.check_ingested(store, wave)
    assert "\n" not in str(raised.value)
    assert read_table(store, "failures").num_rows == 3, "what failed is committed all the same"


@pytest.mark.parametrize("names", [("torn.mp4",), ("torn.mp4", "silent.mp4")])
def test_some_bad_files_do_not_break_a_night(
    names: tuple[str, ...], copied: Callable[..., Clips], tmp_path: Path
) -> None:
    here = copied(*names)
    torn(here, len(names) * 2 - 1)  # two in all, or four beside a good one
    store, wave = ingested(here.folder, tmp_path / "store")
    stages.check_ingested(store, wave)


@pytest.mark.slow
def test_the_command_says_so_and_goes_on_the_next_time(
    copied: Callable[..., Clips], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = copied("torn.mp4")
    torn(here, 2)
    argv = ["--store", str(tmp_path / "store"), "ingest", str(here.folder), "--runner", "in-process"]
    assert main(argv) == 3
    assert "triptych: every source of the wave failed, 3 of 3" in capsys.readouterr().err
    good = copied("silent.mp4").path("silent.mp4")
    assert main(argv) == 0
    store = Store.open(tmp_path / "store")
    assert [row["uri"] for row in read_table(store, "media").to_pylist()] == [str(good)]
    assert sorted(read_table(store, "runs")["status"].to_pylist()) == ["done", "failed"]
