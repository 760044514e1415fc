"""A folder is written whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder, whole or not at all: into a hidden sibling that is then renamed.

    Args:
        folder: Where it shall be; must not exist.
        files: Content by name.

    Raises:
        OSError: The folder exists, or cannot be written; nothing is left.
    """
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


def fingerprint_of(content: bytes) -> str:
    """Hash of a file's content, 16 hexadecimal digits."""
    return blake2b(content, digest_size=8).hexdigest()
