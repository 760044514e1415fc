"""Lineage: what made a file. It stands in the file's own footer, for Delta's log is cleaned after a while."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from features.errors import StoreError
from features.store.storage import parquet_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

LINEAGE_KEY = "triptych.lineage"
"""Key of the footer entry: a JSON list, a member for each that had a hand in the file's rows."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """What made some rows.

    Attributes:
        run_id: Run that made them.
        stage: Stage: `ingest`, `extract:<key>`, `score:<key>`, `plan`, `label`, ...
        code_version: Version of Triptych.
        generation: 1 for the first making of a batch; a retry or a repair counts up.
        fingerprint: Of the extractor's spec, the model's weights or the decoding options.
        inputs: Tables that were read, each with its version.
        config: JSON of the options that change rows, or empty.
    """

    run_id: str
    stage: str
    code_version: str = ""
    generation: int = 1
    fingerprint: str = ""
    inputs: tuple[tuple[str, int], ...] = ()
    config: str = ""

    @property
    def versions(self) -> dict[str, int]:
        """Version of each table that was read."""
        return dict(self.inputs)

    def metadata(self) -> dict[str, str]:
        """For a commit: every member that says something, as text."""
        data = {**asdict(self), "inputs": json.dumps(self.versions, sort_keys=True) if self.inputs else ""}
        return {name: str(value) for name, value in data.items() if value != ""}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Lineage:
        """Read what `asdict` wrote; members that a newer version added are passed over."""
        known = {item.name for item in fields(cls)}
        inputs = tuple((str(table), int(version)) for table, version in data.get("inputs", ()))
        return cls(**{**{name: value for name, value in data.items() if name in known}, "inputs": inputs})


def code_version() -> str:
    """Version of the installed Triptych."""
    try:
        return version("triptych")
    except PackageNotFoundError:
        return "unknown"


def to_footer(lineage: Iterable[Lineage]) -> dict[str, str]:
    """The footer entry of a file; each maker once."""
    return {LINEAGE_KEY: json.dumps([asdict(one) for one in dict.fromkeys(lineage)], sort_keys=True)}


def read_lineage(path: Path) -> tuple[Lineage, ...]:
    """What made a file's rows, oldest first; empty where the file does not say.

    Raises:
        StoreError: The file is missing or damaged.
    """
    try:
        metadata = _metadata_of(path)
        entries = json.loads(metadata.get(LINEAGE_KEY.encode(), b"[]"))
        return tuple(Lineage.from_dict(entry) for entry in entries)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"cannot read the lineage of {str(path)!r} ({error}); find out what is wrong: triptych verify"
        raise StoreError(message) from error


def _metadata_of(path: Path) -> dict[bytes, bytes]:
    with parquet_file(path) as file:
        return file.metadata.metadata or {}


def config_in(paths: Iterable[Path]) -> str:
    """The newest options of the first of these files that tells any; empty where none does, or all are damaged."""
    for path in paths:
        try:
            told = [one.config for one in read_lineage(path) if one.config]
        except StoreError:
            continue
        if told:
            return told[-1]
    return ""


def carried(folder: Path, paths: Iterable[str], *more: Lineage) -> Sequence[Lineage]:
    """Lineage for a file that takes over the rows of others: theirs, and then its own."""
    found: list[Lineage] = []
    for path in sorted(paths):
        found += read_lineage(folder / path)
    return tuple(dict.fromkeys([*found, *more]))
