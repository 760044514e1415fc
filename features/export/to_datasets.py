"""Hugging Face datasets: `data/<split>-00000-of-00002.parquet`, and a card, `README.md`, that states the features.

Reference:
    https://huggingface.co/docs/hub/datasets-manual-configuration, and the `dataset_info` of a dataset card.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from features.export.folder import DATA
from features.export.source import SPLIT
from features.export.to_parquet import ParquetRows, lists_of
from features.export.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from features.export.folder import OutFolder
    from features.export.manifest import FileDone, Part

CARD = "README.md"
UNASSIGNED = "unassigned"
"""Where rows go whose media has no split."""

_ALL = "train"
_OF = re.compile(r"-of-\d{5}(?=\.parquet$)")
_KINDS = {"jpeg": "image", "flac": "audio"}
_NAMES = {"double": "float64", "float": "float32", "halffloat": "float16"}


class DatasetsWriter(Writer):
    """Parquet files a split; the splits are those of the column `split`, or `train` alone.

    In their names, `_` stands for what is neither a letter nor a digit.
    """

    def __init__(self, folder: OutFolder, schema: pa.Schema, shard_bytes: int) -> None:
        super().__init__(folder, schema, shard_bytes)
        self._has_splits = SPLIT in schema.names
        kept = [field for field in schema if field.name != SPLIT]
        self._rows_schema = pa.schema(kept)

    def resume(self, parts: Sequence[Part]) -> None:
        """Go on after these parts."""
        self._counts = Counter(_split_of(file.path) for part in parts for file in part.files)
        self._open: dict[str, ParquetRows] = {}

    def write(self, rows: pa.Table) -> None:
        """Add rows to the files of their splits."""
        for split, own in self._by_split(rows):
            name = _name(split, self._counts[split])
            with self.folder.writing(self.folder.interim(name)):
                if split not in self._open:
                    self._open[split] = ParquetRows(self.folder.interim(name), self._rows_schema)
                self._open[split].write(own)

    def end_part(self) -> list[Future[FileDone]]:
        """End the files of all splits that had rows."""
        if not self._open and not self._counts:
            name = _name(_ALL, 0)
            with self.folder.writing(self.folder.interim(name)):
                self._open[_ALL] = ParquetRows(self.folder.interim(name), self._rows_schema)
        files: list[Future[FileDone]] = []
        for split, file in sorted(self._open.items()):
            name = _name(split, self._counts[split])
            with self.folder.writing(self.folder.interim(name)):
                file.close()
            files.append(self.done(name, file.num_rows))
            self._counts[split] += 1
        self._open = {}
        return files

    def finish(self, parts: Sequence[Part]) -> list[FileDone]:
        """The files under names that say how many there are, and the card."""
        files = [file for part in parts for file in part.files]
        path = self.folder.interim(CARD)
        with self.folder.writing(path):
            path.write_text(card(self._rows_schema, files), encoding="utf-8")
        named = [file._replace(path=_final(file.path, self._counts)) for file in files]
        return [*sorted(named), self.done_now(CARD, 0)]

    @staticmethod
    def written_as(path: str) -> str:
        """The name for which a file was written: without how many there are."""
        return _OF.sub("", path)

    def _by_split(self, rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        if not self._has_splits:
            yield _ALL, rows
            return
        names = pc.replace_substring_regex(pc.fill_null(rows[SPLIT], UNASSIGNED), r"\W", "_")
        own = rows.drop_columns([SPLIT])
        for name in sorted(pc.unique(names).to_pylist()):
            yield name, own.filter(pc.equal(names, name))


def card(schema: pa.Schema, files: Sequence[FileDone]) -> str:
    """The card of a dataset: which files make which split, and what type each column has.

    Args:
        schema: Of the rows.
        files: Files of all splits, by the names that they were written for.
    """
    rows: Counter[str] = Counter()
    size_bytes: Counter[str] = Counter()
    for file in files:
        rows[_split_of(file.path)] += file.num_rows
        size_bytes[_split_of(file.path)] += file.size_bytes
    splits = sorted(rows, key=lambda split: (split != _ALL, split))
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    lines += [line for name in splits for line in (f"  - split: {name}", f"    path: {DATA}/{name}-*")]
    lines += ["dataset_info:", "  features:", *(f"  {line}" for field in lists_of(schema) for line in _feature(field))]
    lines += ["  splits:"]
    for name in splits:
        lines += [f"  - name: {name}", f"    num_bytes: {size_bytes[name]}", f"    num_examples: {rows[name]}"]
    lines += [f"  download_size: {size_bytes.total()}", f"  dataset_size: {size_bytes.total()}", "---", ""]
    lines += ["# Exported by Triptych", ""]
    lines += ["Times are whole microseconds on the media's own timeline, in half-open spans. `export.json` states the"]
    lines += ["options, and the versions of the tables that the rows were read from.", ""]
    return "\n".join(lines)


def _feature(field: pa.Field) -> list[str]:
    kind = _KINDS.get(field.name) if pa.types.is_binary(field.type) else None
    return [f"- name: {json.dumps(field.name)}", *(f"  {line}" for line in _type(field.type, kind))]


def _type(kind: pa.DataType, named: str | None = None) -> list[str]:
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        return ["list:", *(line for child in kind.value_type for line in _feature(child))]
    if pa.types.is_list(kind):
        inner = _type(kind.value_type)
        is_one = len(inner) == 1 and inner[0].startswith("dtype: ")
        return [f"list: {inner[0].removeprefix('dtype: ')}"] if is_one else ["list:", *(f"  {line}" for line in inner)]
    return [f"dtype: {json.dumps(named or _NAMES.get(str(kind), str(kind)))}"]


def _name(split: str, number: int) -> str:
    return f"{DATA}/{split}-{number:05}.parquet"


def _split_of(path: str) -> str:
    return path.removeprefix(f"{DATA}/").rpartition("-")[0]


def _final(path: str, counts: Counter[str]) -> str:
    return path.removesuffix(".parquet") + f"-of-{counts[_split_of(path)]:05}.parquet"
