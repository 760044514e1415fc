"""Which media and span each vector of a file is of."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import ConfigError
from features.identity import MICROSECONDS
from features.privacy.consent import first_refused, purposes_of
from features.store.named_media import name_in, order_in, span_of

if TYPE_CHECKING:
    from features.spec import FeatureSpec
    from features.store.feature_file import FeatureFile
    from features.store.named_media import MediaFinder

    Row = dict[str, Any]

CONTAINER = "imported"
"""`media.container` of media that there are only vectors of."""

_UNKNOWN = "ingest them first, take the rows out, or, where there are no such files, add --new-media"
_SHOWN = 10


class Place(NamedTuple):
    """A media's span, microseconds; places of one media sort by time."""

    media_id: str
    start_us: int
    end_us: int


class Placed(NamedTuple):
    """Where vectors are.

    Attributes:
        places: By row of the file, from 0; rows that are left out are missing.
        skipped: Media that are left out, each with the reason.
    """

    places: dict[int, Place]
    skipped: tuple[str, ...]


def place_rows(file: FeatureFile, finder: MediaFinder, spec: FeatureSpec) -> Placed:
    """Find the media and span of each vector; nothing is written.

    Args:
        file: As of `read_feature_file`.
        finder: Knows the media, also those that are about to be added.
        spec: What the vectors are to be used as: media whose consent refuses that are left out.

    Raises:
        ConfigError: A media is unknown, a span passes its end, orders have holes, or two vectors have one place.
    """
    media: dict[int, Row] = {}
    skipped: dict[str, None] = {}
    for place, row in enumerate(file.places):
        found = finder.find(row, place + 1)
        refused = None if isinstance(found, str) else first_refused(found["consent"], purposes_of(spec))
        if isinstance(found, str):
            skipped[found] = None
        elif refused is not None:
            skipped[f"{name_in(row)}: consent refused for {refused}"] = None
        else:
            media[place] = found
    finder.refuse_unknown(_UNKNOWN)
    places = _ordered(file, media) if _has_order(file) else _spanned(file, media)
    _refuse_repeated(file, places)
    return Placed(places, tuple(skipped))


def _has_order(file: FeatureFile) -> bool:
    columns = file.places[0].keys()
    if "order" not in columns:
        return False
    spans = [name for name in columns if name.startswith(("start_", "end_"))]
    if spans:
        message = f"{str(file.path)!r} has a column order and {spans[0]} too; keep the order or the spans"
        raise ConfigError(message)
    return True


def _spanned(file: FeatureFile, media: dict[int, Row]) -> dict[int, Place]:
    return {
        place: Place(found["media_id"], *span_of(file.places[place], found, file.path, place + 1))
        for place, found in media.items()
    }


def _ordered(file: FeatureFile, media: dict[int, Row]) -> dict[int, Place]:
    """Rows of a media share its duration evenly, to the microsecond."""
    by_media: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for place, found in media.items():
        by_media[found["media_id"]].append((order_in(file.places[place], file.path, place + 1), place))
    places: dict[int, Place] = {}
    for media_id, given in by_media.items():
        given.sort()
        _check_order(file, [order for order, _ in given], given[0][1])
        duration_us = _duration_us(file, media[given[0][1]], len(given), given[0][1])
        ends = [duration_us * count // len(given) for count in range(len(given) + 1)]
        places |= {place: Place(media_id, ends[n], ends[n + 1]) for n, (_, place) in enumerate(given)}
    return places


def _check_order(file: FeatureFile, orders: list[int], place: int) -> None:
    if orders != list(range(len(orders))):
        shown = ", ".join(map(str, orders[:_SHOWN])) + (", …" if len(orders) > _SHOWN else "")
        message = f"the orders of media {name_in(file.places[place])!r} in {str(file.path)!r} are {shown};"
        raise ConfigError(message + " give 0, 1, 2 and so on, each once")


def _duration_us(file: FeatureFile, media: Row, count: int, place: int) -> int:
    """What the rows of a media share.

    A media that there are only vectors of lasts a second a row of the file that it came with. Fewer or more rows would
    not stand beside the rows of that file.
    """
    duration_us = int(media["duration_us"] or 0)
    if media["container"] == CONTAINER and duration_us != count * MICROSECONDS:
        message = (
            f"{str(file.path)!r} has {count} rows of media {name_in(file.places[place])!r}, which came in without "
            f"content and lasts {duration_us / MICROSECONDS:g} s; give its rows spans: start_seconds, end_seconds"
        )
        raise ConfigError(message)
    if duration_us < count:
        message = f"{str(file.path)!r} has {count} rows of media {name_in(file.places[place])!r}, which lasts"
        message += f" {duration_us} µs; take them out"
        raise ConfigError(message)
    return duration_us


def _refuse_repeated(file: FeatureFile, places: dict[int, Place]) -> None:
    first: dict[Place, int] = {}
    for number, place in places.items():
        before = first.setdefault(place, number)
        if before != number:
            names = [f"{one + 1} ({name_in(file.places[one])!r})" for one in (before, number)]
            message = (
                f"rows {' and '.join(names)} of {str(file.path)!r} are of one media, {place.media_id}, and of one span,"
                f" [{place.start_us}, {place.end_us}) µs; take one out, or give them spans or an order"
            )
            raise ConfigError(message)
