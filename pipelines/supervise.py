"""Supervision: a wave runs in a process group of its own, with a heartbeat; what hangs or dies is killed and retried.

Beam's `multi_processing` waits for ever when one of its workers is killed. So a wave is a child process that leads
its own group: it exits as soon as a worker does so abnormally, it kills its group when its parent is gone, and its
parent kills the group when the heartbeat stops.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import StoreError, TriptychError
from pipelines.wave_process import WORKER_DIED
from pipelines.waves import HEARTBEAT, Summary, Wave

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipelines.options import RunConfig

_POLL_SECONDS = 0.1
_LOG = logging.getLogger(__name__)
_TAIL_CHARACTERS = 2000
_PROBE_BYTES = 1 << 16


class WaveError(TriptychError):
    """A wave did not end well after all its attempts."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """How one attempt ended: a summary, or a reason in a line and the end of its log."""

    summary: Summary | None
    reason: str = ""
    log: str = ""


def run_wave(
    wave: Wave,
    config: RunConfig,
    beam_args: Sequence[str] = (),
    *,
    on_attempt: Callable[[int, int], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Summary:
    """Run a wave in a supervised child, again when it dies or hangs.

    Args:
        wave: What to do.
        config: How to run it; passed to the job.
        beam_args: Beam's own options.
        on_attempt: Called with the attempt's number and the child's process id.
        on_progress: Called now and then with the media that the attempt has done (of each target, where there are
            several).

    Returns:
        What is committed of the wave's batches.

    Raises:
        StoreError, ConfigError, ...: What the job itself raised of our tree: trying again would be in vain.
        WaveError: All attempts failed otherwise.
    """
    reasons = []
    for attempt in range(1, config.wave_attempts + 1):
        ended = _attempt(wave, config, beam_args, attempt, on_attempt, on_progress or _ignore)
        if ended.summary is not None:
            return ended.summary
        reasons.append(ended.reason)
        told = "\n".join(filter(None, (ended.reason, ended.log)))
        _LOG.warning("wave of %s, attempt %s of %s: %s", wave.stage, attempt, config.wave_attempts, told)
    message = (
        f"the {wave.stage} wave of batches {', '.join(wave.batch_ids)} failed {config.wave_attempts} times "
        f"(last: {reasons[-1]}); what was committed before is kept: mend the cause and run again"
    )
    raise WaveError(message)


def _attempt(
    wave: Wave,
    config: RunConfig,
    beam_args: Sequence[str],
    attempt: int,
    on_attempt: Callable[[int, int], None] | None,
    on_progress: Callable[[int], None],
) -> _Ended:
    with _scratch_folder(_to_json(wave, config, beam_args)) as scratch:
        folder = Path(scratch)
        with (folder / "log").open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "pipelines.wave_process", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, HEARTBEAT: str(folder / "heartbeat"), "TMPDIR": scratch},  # Beam leaves files there
            )
        try:
            if on_attempt:
                on_attempt(attempt, child.pid)
            stalled = _watch(child, folder / "heartbeat", config.stall_seconds, on_progress)
        finally:
            _kill_group(child)
        return _ended(folder, child.returncode, stalled, config.stall_seconds)


def _scratch_folder(wave: str) -> tempfile.TemporaryDirectory[str]:
    """A folder for the child, with what it has to do."""
    try:
        scratch = tempfile.TemporaryDirectory(prefix="triptych-wave-", ignore_cleanup_errors=True)
    except OSError as error:
        raise _no_scratch(error, tempfile.tempdir) from error
    try:
        (Path(scratch.name) / "wave.json").write_text(wave, encoding="utf-8")
        (Path(scratch.name) / "heartbeat").touch()
    except OSError as error:
        scratch.cleanup()
        raise _no_scratch(error, scratch.name) from error
    return scratch


def _check_space(folder: Path) -> None:
    """Tell a wave that died of a full scratch folder, whose log may have found no room either."""
    try:
        (folder / "probe").write_bytes(bytes(_PROBE_BYTES))
    except OSError as error:
        raise _no_scratch(error, str(folder)) from error


def _no_scratch(error: OSError, folder: str | None) -> StoreError:
    place = f" in {folder!r}" if folder else ""
    return StoreError(
        f"cannot write scratch files{place} ({error.strerror}); free space there, or set TMPDIR to another folder, "
        "then run again"
    )


def _ignore(num_media: int) -> None:
    del num_media


def _watch(
    child: subprocess.Popen[bytes], heartbeat: Path, stall_seconds: int, on_progress: Callable[[int], None]
) -> bool:
    """Wait for the child; True where its heartbeat stopped first."""
    while child.poll() is None:
        life = heartbeat.stat()
        on_progress(life.st_size)
        if time.time() - life.st_mtime > stall_seconds:
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """Leave none behind: the child leads the group, its workers are in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _ended(folder: Path, returncode: int, stalled: bool, stall_seconds: int) -> _Ended:
    result = folder / "result.json"
    if not stalled and returncode == 0 and result.is_file():
        return _Ended(Summary.from_json(json.loads(result.read_text(encoding="utf-8"))))
    error = folder / "error.json"
    if error.is_file():
        _raise_ours(json.loads(error.read_text(encoding="utf-8")))
    if stalled:
        return _Ended(None, f"no sign of life for {stall_seconds} s")
    how = f"killed by signal {-returncode}" if returncode < 0 else f"exit status {returncode}"
    if returncode == WORKER_DIED:
        how = "a worker process died"
    if returncode in (WORKER_DIED, -signal.SIGKILL):  # the others' words about broken connections tell nothing
        return _Ended(None, how)
    _check_space(folder)
    tail = (folder / "log").read_text(encoding="utf-8", errors="replace")[-_TAIL_CHARACTERS:].strip()
    return _Ended(None, f"{how}; its last words: {tail.splitlines()[-1]}" if tail else how, tail)


def _raise_ours(data: dict[str, str]) -> None:
    """Raise again what the job raised, where it is an error of our tree."""
    from features import errors

    kind = getattr(errors, data["kind"], None)
    raise (kind if isinstance(kind, type) and issubclass(kind, TriptychError) else StoreError)(data["message"])


def _to_json(wave: Wave, config: RunConfig, beam_args: Sequence[str]) -> str:
    data: dict[str, Any] = {
        "wave": dataclasses.asdict(wave),
        "config": dataclasses.asdict(config),
        "config_class": type(config).__name__,
        "beam_args": list(beam_args),
        "parent_pid": os.getpid(),
    }
    return json.dumps(data)
