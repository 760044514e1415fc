"""Supervision: what dies or hangs is ended, tried again, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import psutil
import pytest

from features.errors import StoreError
from features.store import Store
from flows import stages
from pipelines.supervise import WaveError, run_wave
from pipelines.waves import Wave
from tests.pipelines.clips import Clips, make_clip
from tests.pipelines.running import (
    config,
    environment,
    ingest_here,
    ingest_supervised,
    processes_below,
    rows_of,
    still_alive,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipelines.options import IngestConfig

pytestmark = pytest.mark.slow


def planned(root: Path, given: IngestConfig) -> tuple[Store, Wave]:
    """The one wave of a plan."""
    store, (wave,) = stages.plan_ingest(given, str(root), "run")
    return store, wave


def start_ingest(root: Path, scratch: Path, clips: Clips, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "flows.cli", "--store", str(root), "ingest", str(clips.folder), *more]
    scratch.mkdir(exist_ok=True)
    return subprocess.Popen(
        command,
        start_new_session=True,
        env=environment(TMPDIR=str(scratch)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def processes_naming(folder: Path) -> list[psutil.Process]:
    """Processes, of whatever parent, that were started with a path in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(folder) in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def has_begun(root: Path, moment: str) -> bool:
    """Whether a run has come so far."""
    if moment == "planned":
        return any((root / "sources" / "_delta_log").glob("*1.json"))
    if moment == "decoding":
        return any((root / "frames").glob("batch_id=*/*.parquet"))
    return (root / "media" / "_delta_log" / "00000000000000000001.json").is_file()


@pytest.mark.parametrize(
    ("moment", "runner"),
    [("planned", "in-process"), ("decoding", "in-process"), ("decoding", "multi"), ("first wave done", "in-process")],
)
def test_a_killed_run_goes_on_as_if_nothing_had_been(
    moment: str, runner: str, copied: Callable[..., Clips], tmp_path: Path
) -> None:
    here = copied()
    root, scratch = tmp_path / "store", tmp_path / "scratch"
    wave_batches = "2" if moment == "first wave done" else "9"
    options = ("--runner", runner, "--workers", "2", "--batch-sources", "2", "--wave-batches", wave_batches)
    process = start_ingest(root, scratch, here, *options)
    wait_for(lambda: has_begun(root, moment) or process.poll() is not None)
    family = processes_below(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it was killed"
    assert still_alive([*family, *processes_naming(scratch)]) == []
    if moment == "decoding":  # else the wave may not have begun, and there is no one to clear up
        assert list(scratch.iterdir()) == []
    make_clip(here.path("later.mp4"), grey=20, hertz=200)
    again = start_ingest(root, scratch, here, *options)
    assert again.wait(timeout=120) == 0
    clean, _ = ingest_here(tmp_path / "clean", config([here.folder]))
    assert rows_of(Store.open(root)) == rows_of(clean)


def test_a_killed_worker_ends_the_wave_which_is_tried_again(clean: Store, clips: Clips, tmp_path: Path) -> None:
    """Beam itself would wait for ever."""
    given = config([clips.folder], runner="multi", workers=2, batch_sources=1, wave_batches=9)
    store, wave = planned(tmp_path / "store", given)
    families: dict[int, list[psutil.Process]] = {}
    killers = []

    def kill_a_worker(pid: int) -> None:
        worker = wait_for(lambda: workers_of(pid))[0]
        families[pid] = processes_below(pid)
        worker.kill()

    def on_attempt(attempt: int, pid: int) -> None:
        families[pid] = []
        if attempt == 1:
            killers.append(threading.Thread(target=kill_a_worker, args=(pid,)))
            killers[0].start()

    summary = run_wave(wave, given, on_attempt=on_attempt)
    killers[0].join()
    assert len(families) == 2
    assert still_alive([process for family in families.values() for process in family]) == []
    assert summary.num_batches == 6
    assert rows_of(store) == rows_of(clean)


def workers_of(pid: int) -> list[psutil.Process]:
    """Beam's worker processes of a wave."""
    found = []
    for process in processes_below(pid):
        try:
            if any("sdk_worker_main" in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_wave_without_a_sign_of_life_is_killed(clean: Store, clips: Clips, tmp_path: Path) -> None:
    given = config([clips.folder], stall_seconds=1, wave_attempts=2)
    store, wave = planned(tmp_path / "store", given)
    stopped: list[psutil.Process] = []

    def freeze(attempt: int, pid: int) -> None:
        os.killpg(pid, signal.SIGSTOP)
        stopped.append(psutil.Process(pid))
        assert len(stopped) == attempt

    with pytest.raises(WaveError, match=r"failed 2 times \(last: no sign of life for 1 s\).*run again") as caught:
        run_wave(wave, given, on_attempt=freeze)
    assert wave.batch_ids[0] in str(caught.value)
    assert len(stopped) == 2
    assert still_alive(stopped) == []
    assert not store.has("media")
    ingest_supervised(store.root, config([clips.folder]))
    assert rows_of(store) == rows_of(clean)


def test_a_killed_wave_is_tried_as_often_as_told(clips: Clips, tmp_path: Path) -> None:
    given = config([clips.folder], wave_attempts=3)
    store, wave = planned(tmp_path / "store", given)
    attempts = []

    def kill(attempt: int, pid: int) -> None:
        attempts.append(attempt)
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(WaveError, match=r"failed 3 times \(last: killed by signal 9\)"):
        run_wave(wave, given, on_attempt=kill)
    assert attempts == [1, 2, 3]
    assert store.batches("media") == frozenset()


@pytest.mark.parametrize("runner", ["in-process", "multi"])
def test_what_the_job_refuses_is_told_at_once(runner: str, clips: Clips, tmp_path: Path) -> None:
    """The error of a worker arrives as it was raised; trying again would be in vain."""
    given = config([clips.folder], runner=runner, workers=1)
    store, wave = planned(tmp_path / "store", given)
    (store.path / "frames").write_text("in the way")
    attempts = []
    told = r"^cannot write '.*frames.*' \(.*\); free space or rights there, then run again$"
    with pytest.raises(StoreError, match=told):
        run_wave(wave, given, on_attempt=lambda attempt, _: attempts.append(attempt))
    assert attempts == [1]
    assert store.tables() == ("sources",)


def test_a_surprise_is_told_in_a_paragraph_and_logged_whole(
    clips: Clips, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = config([clips.folder], wave_attempts=1)
    store, wave = planned(tmp_path / "store", given)
    ghost = Wave(store.root, "ingest", (*wave.batch_ids, "ghost"), "run")
    told = r"exit status 1; its last words: ValueError: [^\n]*; what was committed before is kept: mend the cause"
    with pytest.raises(WaveError, match=told) as caught:
        run_wave(ghost, given)
    assert "\n" not in str(caught.value)
    assert "in ingest_planned" in caplog.text
