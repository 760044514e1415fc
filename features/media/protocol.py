"""What the sandbox and its child tell each other: requests, replies, as lines of JSON; nothing is ever unpickled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from features.media.parts import PartFacts
from features.records import MediaInfo, MediaQuality, Missed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from features.media.options import DecodeOptions
    from features.records import DecodedMedia

READY = "ready"
BEAT = "beat"
FACTS = "facts"
FAILED = "failed"
DONE = "done"
LONG = "long"


class Request(NamedTuple):
    """One media to decode.

    Attributes:
        path: The media.
        media_id: Goes into its rows.
        options: Fields of `DecodeOptions`.
        sidecars: Text files beside it.
        tables: Tables whose rows are wanted; their files come with the request, in this order.
        folder: Where these files are, for an error.
        memory_bytes: Address space that the child may take beyond what it has after its start.
        output_bytes: Rows that it may write.
        span_us: Decode nothing but tell how long the media is, where that is twice this and it can be split; 0: never.
        part: Number, start and end of the part that is wanted; None: all.
        sample: Fields of a `Sample` that is decoded instead of `path`, which names it; None: the path is a media.
        text: A transcript of the media, which stands in a manifest, and its language; None: there is none.
    """

    path: str
    media_id: str
    options: dict[str, Any]
    sidecars: tuple[str, ...]
    tables: tuple[str, ...]
    folder: str
    memory_bytes: int
    output_bytes: int
    span_us: int = 0
    part: tuple[int, int, int | None] | None = None
    sample: tuple[Any, ...] | None = None
    text: tuple[str, str | None] | None = None

    @classmethod
    def of(cls, path: str, media_id: str, options: DecodeOptions, **more: Any) -> Request:  # noqa: ANN401 - the fields
        """A request with options as they travel."""
        return cls(path, media_id, asdict(options), **more)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a media came to, beside its rows.

    Attributes:
        info: What decoding found out, text of the sidecars included.
        missed: Parts of the media that are not among the rows.
        bad_sidecars: Text files that cannot be used, `part` being the path.
        num_rows: Rows by table.
        facts: Of a part, what it takes to join it with the others; None of a whole media.
    """

    info: MediaInfo
    missed: tuple[Missed, ...]
    bad_sidecars: tuple[Missed, ...]
    num_rows: Mapping[str, int]
    facts: PartFacts | None = None


def to_line(kind: str, body: object = None) -> bytes:
    """A reply, or with `kind` empty a request, as a line."""
    return json.dumps([kind, body]).encode("ascii") + b"\n"


def from_line(line: bytes) -> tuple[str, Any]:
    """Kind and body of a line.

    Raises:
        ValueError: It is none.
    """
    kind, body = json.loads(line)
    return str(kind), body


def request_of(body: Any) -> Request:  # noqa: ANN401 - JSON
    """A request as `to_line` wrote it."""
    path, media_id, options, sidecars, tables, *rest = body
    return Request(path, media_id, options, tuple(sidecars), tuple(tables), *rest)


def outcome_to_json(
    decoded: DecodedMedia,
    bad_sidecars: tuple[Missed, ...],
    num_rows: Mapping[str, int],
    facts: PartFacts | None = None,
) -> object:
    """What `outcome_of` reads."""
    info = {item.name: getattr(decoded.info, item.name) for item in fields(MediaInfo)}
    quality = decoded.info.quality
    if quality is not None:
        shown = quality.perceptual_hash
        info["quality"] = quality._replace(perceptual_hash=None if shown is None else shown.hex())._asdict()  # type: ignore[arg-type]
    return {
        "info": info,
        "missed": decoded.missed,
        "bad_sidecars": bad_sidecars,
        "num_rows": dict(num_rows),
        "facts": None if facts is None else facts.to_json(),
    }


def outcome_of(body: Any) -> Outcome:  # noqa: ANN401 - JSON
    """An outcome as `outcome_to_json` wrote it."""
    info = dict(body["info"])
    if info["quality"] is not None:
        shown = info["quality"]["perceptual_hash"]
        quality = {**info["quality"], "perceptual_hash": None if shown is None else bytes.fromhex(shown)}
        info["quality"] = MediaQuality(**quality)
    missed, bad = (tuple(Missed(*one) for one in body[name]) for name in ("missed", "bad_sidecars"))
    facts = None if body["facts"] is None else PartFacts.from_json(body["facts"])
    return Outcome(MediaInfo(**info), missed, bad, body["num_rows"], facts)
