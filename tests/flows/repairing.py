"""Mending a store as `verify --repair` does, in this process, and what it changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features.store.verify import verify_store
from flows.repair import Repair
from pipelines import extract, repair
from pipelines.options import RunConfig
from pipelines.runners import pipeline_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.store import Store
    from pipelines.waves import Summary, Wave

_HERE = RunConfig(runner="in-process")


def run_here(wave: Wave, given: RunConfig) -> Summary:
    """A wave in this process, where the light extractors are known."""
    job: Any = {"repair": repair, "extract": extract}[wave.stage]
    summary: Summary = job.run(given, wave, pipeline_options(given))
    return summary


def mend(store: Store, run: Callable[..., Summary] = run_here) -> list[str]:
    """As the command does: until nothing is found, three times at most."""
    told: list[str] = []
    for _ in range(3):
        findings = verify_store(store).findings
        if not findings:
            break
        told += Repair(store, _HERE, run).mend(findings)
    return told


def first(store: Store) -> str:
    return min(store.batches("media"))


def paths_of(store: Store) -> dict[tuple[str, str], set[str]]:
    """Live files by table and batch."""
    found: dict[tuple[str, str], set[str]] = {}
    for table in store.tables():
        for row in store.files(table).to_pylist():
            found.setdefault((table, row["batch_id"]), set()).add(row["path"])
    return {place: paths for place, paths in found.items() if place[0] != "runs"}


def changed(before: dict[Any, Any], after: dict[Any, Any]) -> set[Any]:
    return {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)}


def names(store: Store) -> tuple[str, ...]:
    return tuple(name for name in store.tables() if name not in ("runs", "sources"))
