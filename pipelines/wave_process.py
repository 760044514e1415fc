"""The child process of a wave: `python -m pipelines.wave_process FOLDER`, started by `pipelines.supervise`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import TriptychError

if TYPE_CHECKING:
    from pipelines.waves import Summary

WORKER_DIED = 70
"""Exit status of a wave one of whose workers was killed."""

_POLL_SECONDS = 0.5


def main(folder: Path) -> int:
    """Run the wave that the folder describes; leave `result.json` or `error.json` there.

    Returns:
        Exit status: 0 done, 1 an error of our tree, 70 a worker died.
    """
    data = json.loads((folder / "wave.json").read_text(encoding="utf-8"))
    threading.excepthook = _on_thread_error
    threading.Thread(target=_die_with_parent, args=(data["parent_pid"], folder), daemon=True).start()
    _limit_threads()
    try:
        summary = _run(data)
        _leave(folder / "result.json", summary._asdict())
    except Exception as error:
        ours = _find_ours(error)
        if ours is None:
            raise
        _leave(folder / "error.json", {"kind": type(ours).__name__, "message": str(ours)})
        return 1
    finally:
        if os.getppid() != data["parent_pid"]:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _run(data: dict[str, Any]) -> Summary:
    from importlib import import_module

    from pipelines import options
    from pipelines.runners import pipeline_options
    from pipelines.waves import Wave

    members: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in data["wave"].items()
    }
    wave = Wave(**members)
    config = options.config_from_mapping(getattr(options, data["config_class"]), data["config"])
    summary: Summary = import_module(f"pipelines.{wave.stage}").run(
        config, wave, pipeline_options(config, data["beam_args"])
    )
    return summary


def _find_ours(error: BaseException) -> TriptychError | None:
    """The error of our tree behind what Beam raised: itself, a cause, or one named in a worker's traceback."""
    from features import errors

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, TriptychError):
            return type(seen)(_without_place(str(seen)))
        seen = seen.__cause__ or seen.__context__
    for line in reversed(str(error).splitlines()):
        name, _, message = line.strip().partition(": ")
        kind = getattr(errors, name.removeprefix("features.errors."), None)
        if isinstance(kind, type) and issubclass(kind, TriptychError):
            return kind(_without_place(message))
    return None


def _without_place(message: str) -> str:
    """The message without the step's name that Beam adds to it."""
    return message.split(" [while running")[0]


def _on_thread_error(args: threading.ExceptHookArgs) -> None:
    """Beam waits for ever for a worker that was killed; its thread's error is the only sign."""
    text = str(args.exc_value)
    sys.stderr.write(f"{text}\n")
    if "Worker subprocess exited" in text:
        sys.stderr.flush()
        os._exit(WORKER_DIED)


def _die_with_parent(parent_pid: int, folder: Path) -> None:
    while os.getppid() == parent_pid:
        time.sleep(_POLL_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)  # the parent can no longer
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _limit_threads() -> None:
    """One thread a worker: the workers are the parallelism. Inherited by the workers."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def _leave(path: Path, data: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(data), encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
