"""A model's folder is written whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from hashlib import blake2b
from typing import TYPE_CHECKING

from features.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def publish_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder, whole or not at all: into a hidden sibling that is then renamed.

    Args:
        folder: Where it shall be; must not exist.
        files: Content by name.

    Raises:
        ModelError: The folder exists, or cannot be written.
    """
    if folder.exists():
        message = f"there is a model at {str(folder)!r} already; a model is never overwritten: save under a new version"
        raise ModelError(message)
    hidden = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        hidden.mkdir(parents=True)
        for name, content in files.items():
            with (hidden / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        hidden.rename(folder)
    except OSError as error:
        shutil.rmtree(hidden, ignore_errors=True)
        message = f"cannot write model {str(folder)!r} ({error.strerror or error}); free space or choose another place"
        raise ModelError(message) from error


def fingerprint_of(content: bytes) -> str:
    """Hash of a file's content, 16 hexadecimal digits."""
    return blake2b(content, digest_size=8).hexdigest()
