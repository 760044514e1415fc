"""Raw inputs as columns of a reader: computed from the stored pictures and sound, segment by segment, never stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.fusion.recipe import RAW_INPUTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from features.reading.snapshot import Snapshot

RAW_TABLES = {"frame64": "frames", "log_mel_128": "audio"}
"""Raw inputs, and the table that each is computed from."""

_TRACKS = {"frames": "has_video", "audio": "has_audio"}


class RawColumn(NamedTuple):
    """A raw input as a reader gives it; `name` is one of `RAW_TABLES`."""

    name: str

    @property
    def table(self) -> str:
        """Table that it is computed from."""
        return RAW_TABLES[self.name]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its array."""
        return RAW_INPUTS[self.name]

    @property
    def fields(self) -> tuple[pa.Field, ...]:
        """The array (null where absent), and the masks that say whether and why."""
        kind: pa.DataType = pa.float32()
        for size in reversed(self.shape):
            kind = pa.list_(kind, size)
        return with_masks(self.name, kind, has_length=self.table == "audio")

    def read(
        self, snapshot: Snapshot, batch_id: str, segments: pa.Table, wanted: frozenset[str], media_id: str | None
    ) -> dict[str, pa.Array]:
        """The input's columns for the segments of a batch; each picture or chunk of sound is decoded at most once."""
        from features.raw.segments import makers_of_raw  # with the decoders of pictures and sound

        del wanted, media_id  # whether there is an array is known once it is decoded; the segments say of which media
        found = makers_of_raw([self.name], snapshot, batch_id)[self.name](segments)
        return {
            self.name: fixed_lists(found.values, found.present),
            f"{self.name}:length": pa.array(found.length),
            f"{self.name}:present": pa.array(found.present),
            f"{self.name}:nearest": pa.array(found.nearest & found.present),
            f"{self.name}:status": self._status(snapshot, batch_id, segments, found.failed),
        }

    def _status(self, snapshot: Snapshot, batch_id: str, segments: pa.Table, failed: NDArray[np.bool_]) -> pa.Array:
        """`failed`: it cannot be decoded; else of the media: `absent` (no such track), `empty` (nothing in it), ok."""
        media = snapshot.read("media", batch_id, ("media_id", _TRACKS[self.table]))
        has_track = _is_in(segments, media.filter(pc.fill_null(media[_TRACKS[self.table]], False)))
        has_rows = _is_in(segments, snapshot.read(self.table, batch_id, ("media_id",)))
        of_media = np.where(has_rows, "ok", np.where(has_track, "empty", "absent"))
        return pa.array(np.where(failed, "failed", of_media).tolist(), pa.string())


def with_masks(name: str, kind: pa.DataType, *, has_length: bool) -> tuple[pa.Field, ...]:
    """The fields of a column that a reader gives: its value, and the masks that say whether and why."""
    masks = {"length": pa.int32()} if has_length else {}
    masks |= {"present": pa.bool_(), "nearest": pa.bool_(), "status": pa.string()}
    return (pa.field(name, kind), *(pa.field(f"{name}:{mask}", mask_kind) for mask, mask_kind in masks.items()))


def fixed_lists(values: NDArray[np.float32] | NDArray[np.int32], present: NDArray[np.bool_]) -> pa.Array:
    """An array of nested lists of fixed sizes, null where absent.

    Args:
        values: Shape [n, ...], two dimensions at least.
        present: Bool, shape [n].
    """
    array = pa.array(values.reshape(-1))
    for size in reversed(values.shape[2:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return pa.FixedSizeListArray.from_arrays(array, values.shape[1], mask=pa.array(~present))


def _is_in(segments: pa.Table, rows: pa.Table) -> NDArray[np.bool_]:
    found = pc.is_in(segments["media_id"], value_set=rows["media_id"].combine_chunks())
    return np.asarray(found.to_numpy(), np.bool_)
