"""What a consent file means for the sources of a plan, and for the media that a store holds; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow.compute as pc

from features.privacy.consent import UNSTATED, refused_purposes
from features.privacy.consent_policy import MediaPlace
from features.schema import BATCH_ID
from features.store.read import read_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from features.privacy.consent_policy import ConsentPolicy, Verdicts
    from features.store.plan import Source
    from features.store.store import Store

    Row = dict[str, Any]

_COLUMNS = ("media_id", "name", "uri", "duration_us", "consent", "subject_ids")
_ROWS_A_LOOK = 1 << 14


class Judged(NamedTuple):
    """A media, what its consent is, and what the file makes of it.

    Attributes:
        media_id: Its id.
        name: File name of its source.
        batch_id: Its batch.
        before: Text of `media.consent`.
        is_decoded: It has content; what was refused when it came in has none.
        verdicts: What the file says.
        rules: Numbers of the rules that it falls under, from 1.
        subject_ids: People in it.
    """

    media_id: str
    name: str
    batch_id: str
    before: str
    is_decoded: bool
    verdicts: Verdicts
    rules: frozenset[int]
    subject_ids: tuple[str, ...]

    @property
    def after(self) -> str:
        """Text of `media.consent` by the file."""
        return self.verdicts.text

    @property
    def withdrawn(self) -> frozenset[str]:
        """Purposes that were allowed and are refused now."""
        return refused_purposes(self.after) - refused_purposes(self.before)

    @property
    def lifted(self) -> frozenset[str]:
        """Purposes that were refused and are allowed now."""
        return refused_purposes(self.before) - refused_purposes(self.after)


@dataclass
class Review:
    """What a file makes of a store's media, added up.

    Attributes:
        num_media: Media that were judged.
        changes: Those whose consent is another now.
        unused: Numbers of the rules that no media falls under.
        unknown_subjects: People that a rule names and no media has.
    """

    num_media: int
    changes: tuple[Judged, ...]
    unused: tuple[int, ...]
    unknown_subjects: tuple[str, ...]


def decided(source: Source, policy: ConsentPolicy | None) -> Source:
    """A source with the consent that a file gives it, on top of what is stated for it."""
    if policy is None:
        return source
    return source._replace(
        consent=policy.decide(
            MediaPlace(source.uri, source.sample.subject_ids if source.sample else (), source.consent)
        ).text
    )


def judge(store: Store, policy: ConsentPolicy) -> Iterator[Judged]:
    """Hold every media of a store against a file, at all the places where its bytes were found.

    Raises:
        StoreError: A table cannot be read.
    """
    stated, copies, planned = _stated(store), _copies(store), store.batches("sources")
    media = read_table(store, "media", columns=_COLUMNS)
    for rows in media.to_batches(max_chunksize=_ROWS_A_LOOK):
        for row in rows.to_pylist():
            own = (row[BATCH_ID], row["uri"])
            # Where the plan is lost, what a media has may have been stated with it: that is not lifted.
            ground = stated.get(own, UNSTATED) if row[BATCH_ID] in planned else row["consent"] or UNSTATED
            others = {place: stated.get(place, UNSTATED) for place in copies.get(row["media_id"], ())}
            yield _judged(row, policy, {own: ground, **others})


def review(judged: Iterable[Judged], policy: ConsentPolicy) -> Review:
    """Add up what was judged; only what changes is kept."""
    num_media, changes = 0, []
    used: set[int] = set()
    subjects: set[str] = set()
    for one in judged:
        num_media += 1
        used |= one.rules
        subjects.update(one.subject_ids)
        if one.after != one.before:
            changes.append(one)
    unused = tuple(number for number in range(1, len(policy.rules) + 1) if number not in used)
    return Review(num_media, tuple(changes), unused, tuple(sorted(policy.subjects - subjects)))


def _judged(row: Row, policy: ConsentPolicy, stated: Mapping[tuple[str, str], str]) -> Judged:
    """A media's row, with the consent that was stated in each batch and place where its bytes were found."""
    subjects = tuple(row["subject_ids"] or ())
    verdicts = policy.decide_all(MediaPlace(uri or "", subjects, text) for (_, uri), text in stated.items())
    return Judged(
        row["media_id"],
        row["name"],
        row[BATCH_ID],
        row["consent"] or UNSTATED,
        row["duration_us"] is not None,
        verdicts,
        verdicts.rules,
        subjects,
    )


def _stated(store: Store) -> dict[tuple[str, str], str]:
    """Consent that sources were listed with, by batch and uri; of those for which some was stated."""
    rows = read_table(store, "sources", columns=["uri", "consent"])
    rows = rows.filter(pc.not_equal(rows["consent"], UNSTATED))
    return {(row[BATCH_ID], row["uri"]): row["consent"] for row in rows.to_pylist()}


def _copies(store: Store) -> dict[str, list[tuple[str, str]]]:
    """Other places of media's bytes, each as batch and uri."""
    rows = read_table(store, "source_results", columns=["uri", "media_id", "status"])
    found: dict[str, list[tuple[str, str]]] = {}
    for row in rows.filter(pc.equal(rows["status"], "duplicate")).to_pylist():
        found.setdefault(row["media_id"], []).append((row[BATCH_ID], row["uri"]))
    return found
