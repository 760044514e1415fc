"""Who is in a media, as people state it with their labels: pseudonyms in `media.subject_ids`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from features.privacy.consent_changes import rewrite_media
from features.schema import BATCH_ID
from features.store.read import read_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from features.store.lineage import Lineage
    from features.store.store import Store

    Subjects = Mapping[str, tuple[str, ...]]


def subjects_of(text: object) -> tuple[str, ...]:
    """Pseudonyms of a cell of a file: a list, or a text with `;` between them; sorted, each once."""
    parts = text if isinstance(text, list) else str(text or "").split(";")
    return tuple(sorted({str(part).strip() for part in parts} - {""}))


def state_subjects(store: Store, subjects: Subjects, lineage: Lineage) -> int:
    """Let `media.subject_ids` say who is in some media; nothing is written where it says so already.

    Args:
        store: The store.
        subjects: Pseudonyms by media_id.
        lineage: What states them.

    Returns:
        Media that say something else now.
    """
    media = read_table(store, "media", columns=["media_id", "subject_ids"]).to_pylist()
    changed = {
        row["media_id"]: row[BATCH_ID]
        for row in media
        if row["media_id"] in subjects and tuple(sorted(row["subject_ids"] or ())) != subjects[row["media_id"]]
    }
    if changed:
        rewrite_media(store, dict.fromkeys(sorted(set(changed.values())), partial(_with_subjects, subjects)), lineage)
    return len(changed)


def _with_subjects(subjects: Subjects, rows: pa.Table) -> pa.Table:
    told = zip(rows["media_id"].to_pylist(), rows["subject_ids"].to_pylist(), strict=True)
    place = rows.schema.get_field_index("subject_ids")
    field = rows.schema.field(place)
    values = [list(subjects[media_id]) if media_id in subjects else before for media_id, before in told]
    return rows.set_column(place, field, pa.array(values, field.type))
