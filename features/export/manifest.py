"""`export.json`: what an export holds, of which versions of the store; and the journal of the parts that are done."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import StoreError
from features.export.folder import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from features.export.folder import OutFolder

MANIFEST = "export.json"
FORMAT_VERSION = 1
"""Version of the manifest."""


class FileDone(NamedTuple):
    """A file that is whole: `path` is relative to the folder, `checksum` hex of its BLAKE2b-128."""

    path: str
    size_bytes: int
    num_rows: int
    checksum: str


class Part(NamedTuple):
    """A stretch of batches whose rows are in files.

    Attributes:
        num_batches: Batches that are done, this part's too.
        num_rows: Rows that are written, this part's too.
        files: Its files.
    """

    num_batches: int
    num_rows: int
    files: tuple[FileDone, ...]

    def to_json(self) -> str:
        """One line."""
        return json.dumps({**self._asdict(), "files": [file._asdict() for file in self.files]})

    @classmethod
    def from_json(cls, text: str) -> Part:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        return cls(data["num_batches"], data["num_rows"], tuple(FileDone(**file) for file in data["files"]))


@dataclass(frozen=True)
class Manifest:
    """What an export holds; without times and places, so that the same rows make the same file.

    Attributes:
        options: All that the files depend on beside the store (`ExportOptions.identity`).
        as_of: Version of each table that is read.
        table_ids: Delta's identity of each.
        columns: Type of each column, by name.
        num_batches: Batches to write.
        left_out: How many media are left out, by reason.
        left_out_fingerprint: Hash of their `media_id`s.
        status: `in progress` or `done`.
        num_rows: Rows written, when done.
        files: The files, when done.
        format_version: Version of this record.
    """

    options: Mapping[str, Any]
    as_of: Mapping[str, int]
    table_ids: Mapping[str, str]
    columns: Mapping[str, str]
    num_batches: int
    left_out: Mapping[str, int]
    left_out_fingerprint: str
    status: str = "in progress"
    num_rows: int = 0
    files: tuple[FileDone, ...] = ()
    format_version: int = FORMAT_VERSION

    @property
    def is_done(self) -> bool:
        """Whether all is written."""
        return self.status == "done"

    def write(self, folder: OutFolder) -> None:
        """Put it in the place of the one that is there, all at once.

        Raises:
            StoreError: The folder cannot be written.
        """
        data = {**asdict(self), "files": [file._asdict() for file in self.files]}
        folder.write_text(MANIFEST, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def read_manifest(folder: OutFolder) -> Manifest | None:
    """The manifest of a folder; None where it has none.

    Raises:
        StoreError: It is damaged, or of a newer version.
    """
    path = folder.path / MANIFEST
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data["files"] = tuple(FileDone(**file) for file in data["files"])
        manifest = Manifest(**data)
    except (OSError, ValueError, TypeError, KeyError) as error:
        message = f"cannot read {str(path)!r} ({error}); export into another folder, or delete this one"
        raise StoreError(message) from error
    if manifest.format_version != FORMAT_VERSION:
        message = f"{str(path)!r} is of format {manifest.format_version}, and this program knows {FORMAT_VERSION};"
        raise StoreError(message + " export into another folder")
    return manifest


def read_parts(folder: OutFolder) -> list[Part]:
    """The parts that the journal lists, in order; a line that was broken off is none."""
    path = folder.path / JOURNAL
    if not path.exists():
        return []
    parts = []
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        try:
            parts.append(Part.from_json(line))
        except (ValueError, KeyError, TypeError):
            break
    return parts


def write_parts(folder: OutFolder, parts: Sequence[Part]) -> None:
    """Write the journal anew."""
    folder.write_text(JOURNAL, "".join(part.to_json() + "\n" for part in parts))


def add_part(folder: OutFolder, part: Part) -> None:
    """Add a part to the journal, once its files are on the disk."""
    folder.append_text(JOURNAL, part.to_json() + "\n")


def forget_parts(folder: OutFolder) -> None:
    """Delete the journal."""
    folder.remove(JOURNAL)
