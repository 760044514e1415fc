"""What the people in a media have agreed to: purposes, the text that keeps them in `media.consent`, and who may ask.

`media.consent` is `granted` (for all purposes), `unstated`, `refused` (for all), or `refused:` and the purposes that
are refused, such as `refused:training,publish`. What is not refused may be done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ConsentError

if TYPE_CHECKING:
    from collections.abc import Collection

    from features.spec import FeatureSpec

Purpose = Literal["features", "training", "biometric", "publish"]
"""`features`: extracting, scoring; `training`: learning from it; `biometric`: recognising people by face or voice;
`publish`: pictures and rows that leave the store."""

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
"""All purposes, in the order in which texts name them."""

GRANTED, REFUSED, UNSTATED = "granted", "refused", "unstated"

_SOME = f"{REFUSED}:"
_BIOMETRIC = frozenset({"face", "voice"})


def allowed(media: pa.Table, purpose: Purpose) -> pa.BooleanArray:
    """Which media may be used for a purpose.

    Args:
        media: Rows with the column `consent`.
        purpose: One of `PURPOSES`.

    Returns:
        True or False a row, never null. A consent that was never stated allows; a text that nobody knows does not.

    Raises:
        ConsentError: There is no such purpose.
    """
    if purpose not in PURPOSES:
        message = f"there is no purpose {purpose!r}; purposes are {', '.join(PURPOSES)}"
        raise ConsentError(message)
    texts = pc.unique(media["consent"])
    allowing = [text for text in texts.to_pylist() if purpose not in refused_purposes(text)]
    return pc.is_in(_one(media["consent"]), value_set=pa.array(allowing, media.schema.field("consent").type))


def refused_purposes(consent: str | None) -> frozenset[str]:
    """The purposes that a text of `media.consent` refuses; all of them for a text that nobody knows."""
    if consent in (None, GRANTED, UNSTATED):
        return frozenset()
    names = frozenset(consent.removeprefix(_SOME).split(",")) if consent.startswith(_SOME) else frozenset[str]()
    return names if names and names <= frozenset(PURPOSES) else frozenset(PURPOSES)


def consent_text(refused: Collection[str], *, granted: bool = False) -> str:
    """The text for `media.consent`.

    Args:
        refused: Purposes that are refused.
        granted: All others are granted; else they are not stated.
    """
    if not refused:
        return GRANTED if granted else UNSTATED
    names = [purpose for purpose in PURPOSES if purpose in refused]
    return REFUSED if len(names) == len(PURPOSES) else _SOME + ",".join(names)


def purposes_of(spec: FeatureSpec) -> tuple[Purpose, ...]:
    """What an extractor needs consent for: to recognise people by face or voice is more than to make features."""
    return ("features", "biometric") if spec.modality in _BIOMETRIC else ("features",)


def first_refused(consent: str | None, purposes: Collection[Purpose]) -> Purpose | None:
    """The first of some purposes that a text refuses; None where it allows them all."""
    refused = refused_purposes(consent)
    return next((purpose for purpose in purposes if purpose in refused), None)


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
