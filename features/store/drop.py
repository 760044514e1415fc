"""Dropping an extractor: its tables go whole, its dead letters are closed, and `extract` may begin anew."""

from __future__ import annotations

import contextlib
import difflib
import json
import shutil
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import ConfigError, StoreError
from features.store.commit import forget_generations
from features.store.failures import FAILURES, is_open, rewrite
from features.store.files import reason_of
from features.store.leases import live_leases
from features.store.lineage import Lineage, code_version
from features.store.models import list_models, model_folder
from features.store.storage import is_remote, remedy, remove_files, remove_folder
from features.store.store import count_rows
from features.store.sweep import DROPPED

if TYPE_CHECKING:
    from features.store.models import ModelRef
    from features.store.store import Store

    Row = dict[str, Any]

_ROW_FAMILIES = ("features", "transcripts")


class Extracted(NamedTuple):
    """What an extractor has made in a store.

    Attributes:
        key: `<name>@<version>`.
        tables: Its tables, the mark of done first.
        num_rows: Rows in them.
        size_bytes: Bytes of their live files.
        models: Models that learned from them.
    """

    key: str
    tables: tuple[str, ...]
    num_rows: int
    size_bytes: int
    models: tuple[str, ...]


def find_extracted(store: Store, text: str) -> Extracted:
    """What the extractor `NAME@VERSION` has made.

    Raises:
        ConfigError: It has made nothing here.
    """
    by_key: dict[str, list[str]] = {}
    for table in store.tables():
        family, _, key = table.partition("/")
        if family in ("coverage", *_ROW_FAMILIES) and key:
            by_key.setdefault(key, []).append(table)
    if text not in by_key:
        near = difflib.get_close_matches(text, by_key, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(by_key)) or 'none'}"
        message = f"no extractor {text!r} has tables in {store.root!r}; {hint}"
        raise ConfigError(message)
    tables = tuple(sorted(by_key[text]))  # coverage before features and transcripts
    sizes = [count_rows(store, table) for table in tables]
    models = tuple(ref.key for ref in list_models(store) if _learned(store, ref, text, tables))
    return Extracted(text, tables, sum(s.num_rows for s in sizes), sum(s.size_bytes for s in sizes), models)


def drop_extracted(store: Store, extracted: Extracted, run_id: str) -> None:
    """Drop an extractor's tables. What is killed on the way is finished by dropping again, or by `maintain`.

    Raises:
        StoreError: A run is extracting them, or the folder may not be written.
    """
    _refuse_while_extracted(store, extracted)
    _close_letters(store, f"extract:{extracted.key}", run_id)
    if is_remote(store.path):
        _drop_remote(store, extracted)
        return
    aside = store.path / DROPPED / f"{extracted.key}.{uuid.uuid4().hex}"
    try:
        for table in extracted.tables:  # the mark of done first: without it no other is looked at
            (aside / table).parent.mkdir(parents=True, exist_ok=True)
            store.table_path(table).rename(aside / table)
        shutil.rmtree(aside)
        with contextlib.suppress(OSError):  # another is being dropped
            aside.parent.rmdir()
    except OSError as error:
        message = (
            f"cannot drop {extracted.key!r} in {store.root!r} ({reason_of(error)}); see to the rights, drop it again"
        )
        raise StoreError(message) from error


def _drop_remote(store: Store, extracted: Extracted) -> None:
    """Without renaming: the newest entry of a log goes first, so that what is killed on the way leaves a table."""
    try:
        for table in extracted.tables:
            log, folder = store.table_path(table) / "_delta_log", store.table_path(table)
            remove_files([log / "_last_checkpoint"])
            remove_files(sorted(log.glob("*"), key=lambda path: path.name, reverse=True))
            remove_folder(folder)
    except OSError as error:
        message = f"cannot drop {extracted.key!r} in {store.root!r} ({error}); {remedy(store.root, error, '')}"
        raise StoreError(message) from error


def _learned(store: Store, ref: ModelRef, key: str, tables: tuple[str, ...]) -> bool:
    """Whether a model learned from an extractor; one that does not say is left to whoever reads its card."""
    try:
        card = json.loads((model_folder(store, ref) / "model.json").read_text(encoding="utf-8"))
        return key in card["features"] or not set(tables).isdisjoint(card["table_versions"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _refuse_while_extracted(store: Store, extracted: Extracted) -> None:
    lease = f"extract-{extracted.key.partition('@')[0]}."
    for name, holder in live_leases(store):
        if name.startswith(lease):
            message = (
                f"run {holder.run_id} on {holder.host} is extracting {extracted.key!r}; wait until it ends, drop then"
            )
            raise StoreError(message)


def _close_letters(store: Store, stage: str, run_id: str) -> None:
    """Close an extractor's dead letters, and let it write new ones of the same batches from generation 1."""
    if not store.has(FAILURES):
        return

    def change(batch_id: str, rows: list[Row]) -> list[Row]:
        del batch_id
        now = datetime.now(UTC)
        return [{**row, "closed_at": now} if is_open(row, stage) else row for row in rows]

    batch_ids = sorted(store.batches(FAILURES))
    rewrite(store, batch_ids, change, Lineage(run_id, f"drop:{stage}:{run_id}", code_version()))
    forget_generations(store, FAILURES, stage, batch_ids)
