"""Which media may leave the store: asked here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ConfigError
from features.fusion.settings import nearest
from features.identity import fingerprint
from features.privacy.consent import allowed
from features.schema import BATCH_ID
from features.store.read import read_committed
from features.store.tombstones import read_tombstones

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from features.export.options import ExportOptions
    from features.privacy.consent import Purpose
    from features.reading.snapshot import Snapshot


PURPOSE: Purpose = "publish"
"""What consent is asked for: an export leaves the store, whatever becomes of it."""


@dataclass(frozen=True)
class Leaving:
    """Who is shown by an export.

    Attributes:
        batch_ids: Batches that it reads, in order.
        barred: Media of them that it leaves out.
        num_refused: Of these, those whose use was refused.
        num_forgotten: The others, which were forgotten.
        media_ids: Only these media, where some were named.
    """

    batch_ids: tuple[str, ...]
    barred: frozenset[str]
    num_refused: int
    num_forgotten: int
    media_ids: frozenset[str] | None = None

    @property
    def fingerprint(self) -> str:
        """Hash of who is left out."""
        return fingerprint(sorted(self.barred))

    def of(self, media_ids: pa.Array) -> pa.Array:
        """Of media that `media` lists, those that are shown."""
        if self.media_ids is not None:
            media_ids = media_ids.filter(pc.is_in(media_ids, _ids(self.media_ids)))
        return media_ids.filter(pc.invert(pc.is_in(media_ids, self._barred_ids))) if self.barred else media_ids

    @cached_property
    def _barred_ids(self) -> pa.Array:
        return _ids(self.barred)


def may_leave(media: pa.Table) -> NDArray[np.bool_]:
    """Whether consent allows that each media leaves the store.

    Args:
        media: Columns media_id, consent.
    """
    return np.asarray(allowed(media, PURPOSE).to_numpy(zero_copy_only=False), np.bool_)


def who_leaves(snapshot: Snapshot, options: ExportOptions) -> Leaving:
    """Who is shown of a snapshot: by consent as it was then and as it is now, and nobody who is forgotten by now.

    Args:
        snapshot: With `media` among its tables.
        options: Which batches and media are wanted; media by `media_id`.

    Raises:
        ConfigError: A batch is not whole, or is unknown.
        StoreError: A file of `media` is missing or damaged.
    """
    store, whole = snapshot.store, snapshot.files.get("media", {})
    for batch_id in options.batch:
        if batch_id not in whole:
            hint = nearest(batch_id, list(whole)) or "batches are listed by: triptych status"
            message = f"batch {batch_id!r} is not whole, or not of this store; {hint}"
            raise ConfigError(message)
    columns, wanted = ["media_id", "consent"], options.batch or tuple(whole)
    then = read_committed(store, "media", batch_ids=wanted, columns=columns, versions=snapshot.versions)
    now = read_committed(store, "media", batch_ids=wanted, columns=columns)
    ours = frozenset(then["media_id"].to_pylist())
    refused = frozenset(media_id for rows in (then, now) for media_id in _refused(rows)) & ours
    tombstones = read_tombstones(store)
    forgotten = frozenset[str]() if tombstones is None else (tombstones.media_ids & ours) - refused
    only = frozenset(options.media) if options.media else None
    holding = wanted if only is None else _holding(then, only)
    return Leaving(tuple(sorted(holding)), refused | forgotten, len(refused), len(forgotten), only)


def _holding(media: pa.Table, media_ids: frozenset[str]) -> set[str]:
    """Batches of some media."""
    return set(media.filter(pc.is_in(media["media_id"], _ids(media_ids)))[BATCH_ID].to_pylist())


def _refused(media: pa.Table) -> list[str]:
    refused: list[str] = media.filter(pa.array(~may_leave(media)))["media_id"].to_pylist()
    return refused


def _ids(media_ids: Collection[str]) -> pa.Array:
    return pa.array(sorted(media_ids), pa.string())
