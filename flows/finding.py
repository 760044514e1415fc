"""Finding the media that a user names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features.errors import ConfigError
from features.store import read_table
from features.store.index import media_index

if TYPE_CHECKING:
    from features.store import Store

    Row = dict[str, Any]


def find_media(store: Store, text: str) -> Row:
    """The row of `media`, with `batch_id`, of a media_id, its first digits, a file name or a URI.

    Raises:
        ConfigError: There is none, or more than one.
    """
    batch_id = media_index(store).batch_of(text)
    rows = read_table(store, "media", batch_ids=None if batch_id is None else [batch_id]).to_pylist()
    matches = [row for row in rows if text in (row["media_id"], row["name"], row["uri"])]
    matches = matches or [row for row in rows if row["media_id"].startswith(text)]
    if len(matches) == 1:
        found: Row = matches[0]
        return found
    if not matches:
        message = f"there is no media {text!r} in {store.root!r}; list media by: triptych sql"
        raise ConfigError(message)
    ids = ", ".join(row["media_id"] for row in matches[:5])
    message = f"{text!r} names {len(matches)} media ({ids}…); give more digits of its media_id"
    raise ConfigError(message)
