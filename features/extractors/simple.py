"""What simple extractors inherit: a row an item, items that are windows of sound, or utterances."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from features.extractors.base import Extractor
from features.extractors.rows import HasSpan, SoundWindow, feature_rows, sound_windows, span_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from features.identity import Span
    from features.records import FeatureRow, MediaRows


class RowAnItem(Extractor):
    """An extractor each of whose items becomes one row, over the stretch where the item lies."""

    def finish(self, rows: MediaRows, items: Sequence[HasSpan], outputs: Sequence[Any]) -> Sequence[FeatureRow]:
        """A row an item."""
        return feature_rows(items, outputs)

    def slim(self, item: HasSpan) -> Span:
        """Its place on the timeline."""
        return span_of(item)


class RowAWindow(RowAnItem):
    """One whose items are windows of sound, a chunk of sound decoded at a time.

    Attributes:
        window_us: Length of a full window.
        shortest_us: Windows that the ends of the sound cut shorter than this are left out.
    """

    window_us: ClassVar[int]
    shortest_us: ClassVar[int]

    def prepare(self, rows: MediaRows) -> Iterator[SoundWindow]:
        """Windows that are long enough."""
        for window in sound_windows(rows, window_us=self.window_us):
            if window.end_us - window.start_us >= self.shortest_us:
                yield window


class TextItem(NamedTuple):
    """A cleaned utterance and its place on the timeline."""

    start_us: int
    end_us: int
    text: str


class RowAnUtterance(RowAnItem):
    """One whose items are cleaned utterances."""

    def prepare(self, rows: MediaRows) -> Iterator[TextItem]:
        """Those that have any text."""
        return text_items(rows)


def text_items(rows: MediaRows) -> Iterator[TextItem]:
    """Cleaned utterances of a media; those without any text are left out."""
    for utterance in rows.utterances:
        if text := clean_text(utterance.text):
            yield TextItem(utterance.start_us, utterance.end_us, text)


def clean_text(text: str) -> str:
    """Unicode NFKC, control and format characters out, white space folded to single spaces."""
    normal = unicodedata.normalize("NFKC", text)
    kept = (" " if character.isspace() else character for character in normal)
    return " ".join("".join(c for c in kept if unicodedata.category(c) not in {"Cc", "Cf"}).split())
