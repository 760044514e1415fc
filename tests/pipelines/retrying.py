"""Retries in this process, and what became of letters and media."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from features.store import read_table
from features.store.failures import Wanted
from flows import retry, stages
from pipelines import extract, ingest
from pipelines.options import RetryConfig
from pipelines.runners import pipeline_options

if TYPE_CHECKING:
    from features.store import Store

CONFIG = RetryConfig(runner="in-process", wave_batches=9)


def again(store: Store, given: RetryConfig = CONFIG, **wanted: str) -> tuple[str, ...]:
    """A retry in this process; what it left out."""
    due = retry.due_letters(store, Wanted(**wanted), given.max_attempts)
    plan, gone = retry.plan_ingest_again(given, store, due, stages.new_run_id())
    for wave in plan():
        ingest.run(given, wave, pipeline_options(given))  # type: ignore[arg-type]
    for wave in retry.plan_extract_again(given, store, due.again, stages.new_run_id()):
        extract.run(given, wave, pipeline_options(given))  # type: ignore[arg-type]
    return (*due.notes, *gone)


def attempts(store: Store, stage: str) -> list[tuple[str, int, bool]]:
    """Of each letter: the name of its media or source, its attempts, and whether it is open."""
    names = {row["media_id"]: row["name"] for row in read_table(store, "media").to_pylist()}
    rows = [row for row in read_table(store, "failures").to_pylist() if row["stage"] == stage]
    return sorted(
        (Path(row["uri"]).name if row["uri"] else names[row["media_id"]], row["attempts"], row["closed_at"] is None)
        for row in rows
    )


def coverage(store: Store, key: str) -> dict[str, str]:
    names = {row["media_id"]: row["name"] for row in read_table(store, "media").to_pylist()}
    return {names[row["media_id"]]: row["status"] for row in read_table(store, f"coverage/{key}").to_pylist()}


def media_named(store: Store, name: str) -> str:
    return next(row["media_id"] for row in read_table(store, "media").to_pylist() if row["name"] == name)
