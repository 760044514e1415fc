"""A folder is written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from hashlib import blake2b
from typing import TYPE_CHECKING

from features.store.storage import is_remote, put_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CLAIM = ".claim"
"""File of a folder in a bucket that only one may write: whoever does has the folder to itself. It names the mark."""


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder, whole or not at all: into a hidden sibling that is then renamed.

    In a bucket, which cannot rename, the file that marks it as whole is written last.

    Args:
        folder: Where it shall be; must not exist.
        files: Content by name; the last one is the mark.

    Raises:
        OSError: The folder exists, or cannot be written; nothing is left.
    """
    if is_remote(folder):
        _write_remote(folder, files)
        return
    hidden = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        hidden.mkdir(parents=True)
        for name, content in files.items():
            with (hidden / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        hidden.rename(folder)
    except OSError:
        shutil.rmtree(hidden, ignore_errors=True)
        raise


def _write_remote(folder: Path, files: Mapping[str, bytes]) -> None:
    claim = {"mark": list(files)[-1], "claimed_by": uuid.uuid4().hex}
    put_bytes(folder / CLAIM, json.dumps(claim).encode(), is_new=True)
    for name, content in files.items():
        put_bytes(folder / name, content)


def is_unfinished(folder: Path) -> bool:
    """Whether a folder in a bucket was claimed, and has not got its mark: by someone at work on it, or who died."""
    try:
        mark = json.loads((folder / CLAIM).read_text(encoding="utf-8"))["mark"]
    except (OSError, ValueError, KeyError, TypeError):
        return False  # what cannot be told stays
    return not (folder / mark).exists()


def fingerprint_of(content: bytes) -> str:
    """Hash of a file's content, 16 hexadecimal digits."""
    return blake2b(content, digest_size=8).hexdigest()
