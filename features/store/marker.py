"""The file that tells a store from any other folder, and states its schema version."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from features.errors import StoreError
from features.schema import SCHEMA_VERSION
from features.store.storage import is_remote, put_bytes, remedy

if TYPE_CHECKING:
    from pathlib import Path

MARKER = "triptych-store.json"
"""Name of the file, in the store's folder."""


def write_marker(marker: Path, data: dict[str, object]) -> None:
    """Write the file whole or not at all.

    Raises:
        OSError: The folder cannot be written.
    """
    if is_remote(marker):
        put_bytes(marker, (json.dumps(data) + "\n").encode())
        return
    temporary = marker.with_name(f".{MARKER}.{os.getpid()}")
    temporary.write_text(json.dumps(data) + "\n", encoding="utf-8")
    temporary.replace(marker)


def raise_version(marker: Path) -> None:
    """State this program's schema version in an older store, so that no older program writes to it any more.

    Raises:
        StoreError: The folder cannot be written.
    """
    data = json.loads(marker.read_text(encoding="utf-8"))
    if data["schema_version"] >= SCHEMA_VERSION:
        return
    try:
        write_marker(marker, {**data, "schema_version": SCHEMA_VERSION})
    except OSError as error:
        what = remedy(marker, error, "free space or rights there, then run again")
        message = f"cannot write {str(marker)!r} ({error.strerror or error}); {what}"
        raise StoreError(message) from error


def check_version(marker: Path) -> None:
    """Refuse a store that a newer program has written to.

    Raises:
        StoreError: It is newer, or the file is damaged.
    """
    try:
        version = int(json.loads(marker.read_text(encoding="utf-8"))["schema_version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"cannot read {str(marker)!r} ({error}); restore it, or name another store"
        raise StoreError(message) from error
    if version > SCHEMA_VERSION:
        message = (
            f"the store {str(marker.parent)!r} has schema version {version}, this program knows {SCHEMA_VERSION}; "
            "install a newer triptych"
        )
        raise StoreError(message)
