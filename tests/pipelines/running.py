"""Running the jobs as the command line does, and comparing what they left."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import psutil

from features.store import Store
from features.store.read import read_table
from flows import stages
from pipelines import extract, ingest
from pipelines.options import ExtractConfig, IngestConfig
from pipelines.runners import pipeline_options
from pipelines.supervise import run_wave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from pipelines.waves import Summary, Wave

_OF_THE_RUN = {
    *("batch_id", "ingested_at", "finished_at", "failed_at", "planned_at", "started_at", "run_id", "seconds"),
}
_BASE = ("media", "frames", "audio", "transcripts", "source_results", "failures")


def rows_of(store: Store, tables: Sequence[str] = _BASE) -> dict[str, list[dict[str, Any]]]:
    """All rows but for what tells one run from another, in an order of their own."""
    found = {}
    for table in tables:
        rows = [
            {name: value for name, value in row.items() if name not in _OF_THE_RUN}
            for row in read_table(store, table).to_pylist()
        ]
        found[table] = sorted(rows, key=_place)
    return found


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("uri", "media_id", "t_us", "start_us", "end_us", "source")
    return tuple((row.get(name) is not None, row.get(name)) for name in names)


def config(sources: Iterable[Path | str], **more: Any) -> IngestConfig:
    return IngestConfig(sources=tuple(map(str, sources)), **{"runner": "in-process", **more})


def ingest_here(root: Path | str, given: IngestConfig) -> tuple[Store, list[Summary]]:
    """Plan and run all waves in this process."""
    store, waves = stages.plan_ingest(given, str(root), stages.new_run_id())
    return store, [ingest.run(given, wave, pipeline_options(given)) for wave in waves]


def ingest_supervised(root: Path | str, given: IngestConfig) -> tuple[Store, list[Summary]]:
    """Plan and run all waves in children."""
    store, waves = stages.plan_ingest(given, str(root), stages.new_run_id())
    return store, [run_wave(wave, given) for wave in waves]


def extract_here(store: Store, *names: str, **more: Any) -> list[Wave]:
    """Plan and run all waves of extractors in this process; the waves."""
    given = ExtractConfig(extractors=names, **{"runner": "in-process", **more})
    done = []
    for wave in stages.plan_extract(given, store, stages.chosen_extractors(names), stages.new_run_id()):
        extract.run(given, wave, pipeline_options(given))
        done.append(wave)
    return done


def wait_for(what: Callable[[], Any], seconds: float = 60) -> Any:
    """What `what` says once it says something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.005)
    message = f"waited {seconds} s in vain"
    raise TimeoutError(message)


def processes_below(pid: int) -> list[psutil.Process]:
    """A process and all that it started."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def still_alive(processes: list[psutil.Process], seconds: float = 10) -> list[psutil.Process]:
    """Those that have not ended after some seconds; zombies have ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        processes = [process for process in processes if _is_alive(process)]
        if not processes:
            break
        time.sleep(0.05)
    return processes


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def environment(**more: str) -> dict[str, str]:
    """The environment for a child, without a store of the user's."""
    return {name: value for name, value in os.environ.items() if name != "TRIPTYCH_STORE"} | more
