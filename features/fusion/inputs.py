"""Inputs: the features of segments, aligned, as one array a modality with its mask; in memory, or on disk beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from features.errors import ConfigError
from features.fusion.alignment import pad_by_overlap, pool_by_overlap, width_of
from features.fusion.configs import EncoderConfig
from features.fusion.examples import Inputs
from features.fusion.recipe import RAW_INPUTS
from features.fusion.sharing import shared_array

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from features.fusion.recipe import Recipe, RecipeFeature

IN_MEMORY_BYTES = 512 << 20
"""Inputs of more bytes than this lie in a file that is mapped into memory, and is gone with the process."""


class RawFound(Protocol):
    """Arrays of a raw input by segment, and whether there is one."""

    @property
    def values(self) -> NDArray[np.float32]:
        """Float32 [n, ...]."""

    @property
    def present(self) -> NDArray[np.bool_]:
        """Bool [n]."""


class _Part(NamedTuple):
    values: NDArray[Any]
    present: NDArray[np.bool_]
    lengths: NDArray[np.int64] | None = None


def align(
    recipe: Recipe,
    segments: pa.Table,
    features: Mapping[str, pa.Table],
    transcripts_sources: Mapping[str, str],
    widths: Mapping[str, int] | None = None,
    raw: Mapping[str, Callable[[pa.Table], RawFound]] | None = None,
) -> Inputs:
    """Arrays and masks of segments; a modality is present where each of its features is.

    Args:
        recipe: Names the features, and whether recognised text counts.
        segments: Columns media_id, start_us, end_us.
        features: Rows of each feature table by `<name>@<version>`.
        transcripts_sources: Source of the best text by media.
        widths: Numbers in a stored vector by feature, as a model knows them; by default as the rows have them.
        raw: What computes each raw input of segments, by its name.

    Raises:
        ConfigError: A feature of the recipe was not given.
        ModelError: A vector has another width.
    """
    parts: dict[str, _Part] = {}
    used: dict[str, int] = {}
    for modality in recipe.modalities:
        own = recipe.features_of(modality)
        if own[0].name in RAW_INPUTS:
            parts[modality] = _raw_part(recipe, own[0].name, segments, raw or {})
            continue
        tables = {feature.name: _rows_of(recipe, feature.name, features) for feature in own}
        used |= {name: widths[name] if widths else width_of(rows) for name, rows in tables.items()}
        embedded = recipe.encoders.get(modality, EncoderConfig()).embedding > 0
        found = [_stored_part(feature, segments, tables[feature.name], used[feature.name], embedded) for feature in own]
        parts[modality] = found[0] if len(found) == 1 else _joined(found)
    if "text" in parts and not recipe.allow_recognised_text:
        sources = [transcripts_sources.get(media_id, "") for media_id in segments["media_id"].to_pylist()]
        given = np.array([not source.startswith("asr:") for source in sources], bool)
        parts["text"] = parts["text"]._replace(present=parts["text"].present & given)
    for part in parts.values():
        part.values[~part.present] = 0
    return Inputs(
        {name: part.values for name, part in parts.items()},
        {name: part.present for name, part in parts.items()},
        used,
        {name: np.where(p.present, p.lengths, 0) for name, p in parts.items() if p.lengths is not None},
    )


def _joined(parts: list[_Part]) -> _Part:
    values = np.concatenate([part.values for part in parts], axis=1)
    return _Part(values, np.all([part.present for part in parts], axis=0))


def _raw_part(
    recipe: Recipe, name: str, segments: pa.Table, raw: Mapping[str, Callable[[pa.Table], RawFound]]
) -> _Part:
    if name not in raw:
        message = f"recipe {recipe.name!r} wants the raw input {name!r}, and nothing here computes it;"
        raise ConfigError(message + " score it from a store, or with predict from its files")
    found = raw[name](segments)
    return _Part(found.values, found.present.copy())


def _stored_part(feature: RecipeFeature, segments: pa.Table, rows: pa.Table, width: int, embedded: bool) -> _Part:
    if embedded:
        return _ids(feature, segments, rows, width)
    if feature.pool == "sequence":
        found = pad_by_overlap(segments, rows, (width,), feature.max_len)
        return _Part(found.values, found.present, np.asarray(found.length, np.int64))
    pooled = [pool_by_overlap(segments, rows, (width,), how) for how in feature.pool.split("+")]
    return _joined([_Part(part.values, part.present) for part in pooled])


def _ids(feature: RecipeFeature, segments: pa.Table, rows: pa.Table, width: int) -> _Part:
    """Ids of pieces of text, int32; those of several utterances end to end, without the padding between them."""
    if feature.pool == "last":
        pooled = pool_by_overlap(segments, rows, (width,), "last")
        return _Part(pooled.values.astype(np.int32), pooled.present)
    found = pad_by_overlap(segments, rows, (width,), feature.max_len)
    values = np.zeros((segments.num_rows, feature.max_len), np.int32)
    for row, utterances in enumerate(found.values.astype(np.int32)):
        real = utterances[utterances != 0][: feature.max_len]
        values[row, : len(real)] = real
    return _Part(values, found.present & (values != 0).any(axis=1))


def _rows_of(recipe: Recipe, key: str, features: Mapping[str, pa.Table]) -> pa.Table:
    if key not in features:
        message = f"recipe {recipe.name!r} wants feature {key!r}, which is not there (there are: {sorted(features)});"
        message += f" run: triptych extract {key.partition('@')[0]}"
        raise ConfigError(message)
    return features[key]


class Gathered:
    """Inputs that come piece by piece, in any order, for a known number of segments."""

    def __init__(self, num_rows: int, folder: Path | None = None, in_memory_bytes: int = IN_MEMORY_BYTES) -> None:
        """Nothing is allocated yet.

        Args:
            num_rows: Segments in all.
            folder: Where to lay what is too large for memory; by default the system's temporary folder.
            in_memory_bytes: Larger arrays, all together, are laid there.
        """
        self._num_rows = num_rows
        self._folder = folder
        self._in_memory_bytes = in_memory_bytes
        self._inputs: Inputs | None = None

    def put(self, rows: NDArray[np.int64], piece: Inputs) -> None:
        """Lay the inputs of the segments at `rows`.

        Raises:
            ModelError: The disk is full.
        """
        if self._inputs is None:
            self._inputs = self._allocated(piece)
        for name, values in piece.values.items():
            self._inputs.values[name][rows] = values
            self._inputs.present[name][rows] = piece.present[name]
            if name in piece.lengths:
                self._inputs.lengths[name][rows] = piece.lengths[name]

    def inputs(self) -> Inputs | None:
        """All of them; None where nothing came."""
        return self._inputs

    def _allocated(self, piece: Inputs) -> Inputs:
        size = sum(values[:1].nbytes for values in piece.values.values()) or 1
        mapped = size * self._num_rows > self._in_memory_bytes
        make = self._mapped if mapped else np.zeros
        values = {name: make((self._num_rows, *found.shape[1:]), found.dtype) for name, found in piece.values.items()}
        present = {name: np.zeros(self._num_rows, np.bool_) for name in piece.present}
        lengths = {name: np.zeros(self._num_rows, np.int64) for name in piece.lengths}
        return Inputs(values, present, piece.widths, lengths)

    def _mapped(self, shape: tuple[int, ...], kind: np.dtype[Any]) -> NDArray[Any]:
        """An array in a file without a name, which processes share, and which goes with the last that looks at it."""
        return shared_array(shape, kind, self._folder)
