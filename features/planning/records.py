"""What runs took, kept in the store beside the plan that they were run by: `<store>/plans/<run_id>.json`.

A plan is made before its run and changes nothing in the store, so it waits in the cache folder of the user; the run
that does what it was made for takes it from there. All of it is numbers: no file names a source or a media.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from features.errors import StoreError
from features.extractors.speeds import cache_file
from features.planning.figures import Plan, TableFigures, from_plain
from features.planning.work import Work
from features.store.storage import is_remote, put_bytes, remedy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from features.store.store import Store

FOLDER = "plans"
"""Folder of the store, and of the cache."""

_NEWEST = 20


@dataclass(frozen=True, slots=True)
class StageRecord:
    """What a stage of a run took.

    Attributes:
        stage: `ingest`, `extract` or `score NAME@VERSION`.
        targets: Extractors, for extract.
        num_waves: Beam runs.
        num_workers: Workers of each.
        cpu_seconds: Of all processes.
        wall_seconds: From the first wave's start to the last one's end.
        work: What its batches are.
        num_batches: Its batches.
        num_failures: Dead letters.
        written: Bytes of its batches in the tables that it fills.
    """

    stage: str
    targets: tuple[str, ...]
    num_waves: int
    num_workers: int
    cpu_seconds: float
    wall_seconds: float
    work: Work
    num_batches: int = 0
    num_failures: int = 0
    written: tuple[TableFigures, ...] = ()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run: the stages so far, and the plan that it was run by, if there was one."""

    run_id: str
    command: str
    stages: tuple[StageRecord, ...] = field(default=())
    plan: Plan | None = None


def add_stage(store: Store, run_id: str, command: str, stage: StageRecord, plan: Plan | None = None) -> None:
    """Note what a stage of a run took, and the plan where this is what it was made for.

    Raises:
        StoreError: The folder cannot be written.
    """
    known = read_record(store, run_id) or RunRecord(run_id, command)
    record = replace(known, stages=(*known.stages, stage), plan=known.plan or plan)
    _write(store.path / FOLDER / f"{run_id}.json", asdict(record))


def read_record(store: Store, run_id: str) -> RunRecord | None:
    """What a run took; None where nothing was noted, or it is damaged."""
    try:
        data = json.loads((store.path / FOLDER / f"{run_id}.json").read_text(encoding="utf-8"))
        return cast("RunRecord", from_plain(RunRecord, data))
    except (OSError, ValueError, StoreError):
        return None


def newest_records(store: Store, *, most: int = _NEWEST) -> tuple[RunRecord, ...]:
    """The newest runs, newest first; damaged files are passed over."""
    names = sorted((path.stem for path in (store.path / FOLDER).glob("*.json")), reverse=True)
    records = (read_record(store, name) for name in names[:most])
    return tuple(record for record in records if record is not None)


def stages_of(records: tuple[RunRecord, ...], stage: str) -> Iterator[StageRecord]:
    """What a stage took, newest first; of `score` all models."""
    for record in records:
        yield from (one for one in record.stages if one.stage.partition(" ")[0] == stage)


def keep_plan(key: str, plan: Plan) -> bool:
    """Let a plan wait for the run that does what it was made for; whether it could be kept."""
    try:
        _write(_waiting(key), plan.to_json())
    except StoreError:  # a plan is to be read; that a later run cannot be held against it is no reason to fail
        return False
    return True


def take_plan(key: str) -> Plan | None:
    """The plan that was made for a run, once."""
    path = _waiting(key)
    try:
        plan = Plan.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, StoreError):
        return None
    with suppress(OSError):
        path.unlink()
    return plan


def _waiting(key: str) -> Path:
    return cache_file().parent / FOLDER / f"{key}.json"


def _write(path: Path, data: Mapping[str, Any]) -> None:
    if is_remote(path):
        _put(path, data)
        return
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden.write_text(json.dumps(data, indent=1), encoding="utf-8")
        hidden.replace(path)
    except OSError as error:
        with suppress(OSError):
            hidden.unlink()
        message = f"cannot write {str(path)!r} ({error.strerror or error}); free space or rights there"
        raise StoreError(message) from error


def _put(path: Path, data: Mapping[str, Any]) -> None:
    try:
        put_bytes(path, json.dumps(data, indent=1).encode())
    except OSError as error:
        what = remedy(path, error, "see to the rights there")
        message = f"cannot write {str(path)!r} ({error.strerror or error}); {what}"
        raise StoreError(message) from error
