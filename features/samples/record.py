"""A loose sample as it is planned, and the identity of its content."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import MediaError
from features.identity import media_id_of_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from features.store.plan import Source

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
SOUND_SUFFIXES = frozenset({".aac", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wav"})
TEXT_SUFFIXES = frozenset({".txt"})
"""Suffixes of bare images, sounds and texts, which are media by themselves."""

SUFFIXES_OF = {"images": IMAGE_SUFFIXES, "sounds": SOUND_SUFFIXES, "texts": TEXT_SUFFIXES}
"""What a folder may be searched for beside videos."""

_DIGEST_BYTES = 16


class Sample(NamedTuple):
    """What a row of a manifest says of one media, so that a worker needs no manifest.

    Attributes:
        video: Path of a video; the sample has no image and no sound then, and its text is a transcript of the video.
        image: Path of an image.
        audio: Path of a sound.
        text_file: Path of a text; None beside a video, whose text files are sidecars.
        text: The words themselves, instead of a file.
        name: For `media.name`.
        language: BCP 47.
        subject_ids: People in it, pseudonyms.
        recorded_at: UTC.
    """

    video: str | None = None
    image: str | None = None
    audio: str | None = None
    text_file: str | None = None
    text: str | None = None
    name: str | None = None
    language: str | None = None
    subject_ids: tuple[str, ...] = ()
    recorded_at: datetime | None = None

    @property
    def is_file(self) -> bool:
        """Whether it is a media as it stands in a file: a video, maybe with a text, or nothing but a sound."""
        return self.video is not None or (self.audio is not None and not (self.image or self.text_file or self.text))

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of its parts."""
        return tuple(part for part in (self.video, self.image, self.audio, self.text_file) if part is not None)


def sample_of_row(row: Mapping[str, Any] | None) -> Sample | None:
    """A sample from its column of `sources`."""
    return None if row is None else Sample(**{**row, "subject_ids": tuple(row["subject_ids"] or ())})


def loose_of(source: Source) -> Sample | None:
    """The loose sample that a source is; None of a video or a sound that was named as a file.

    A bare image or text is a sample of one part.
    """
    if source.sample is not None:
        return None if source.sample.is_file else source.sample
    suffix = Path(source.uri).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return Sample(image=source.uri)
    return Sample(text_file=source.uri) if suffix in TEXT_SUFFIXES else None


def files_of(source: Source) -> tuple[str, ...]:
    """The files whose bytes are a source's content; none of a text that stands in the manifest."""
    return (source.uri,) if source.sample is None else source.sample.files


def stated_size(files: tuple[str, ...], text: str | None) -> tuple[int, int]:
    """Bytes of a sample, and when the latest of its files was changed, microseconds since 1970; 0 without files.

    Raises:
        OSError: A file cannot be looked at.
        ValueError: A path is none.
    """
    looks = [Path(file).stat() for file in files]
    size_bytes = sum(look.st_size for look in looks) + len((text or "").encode())
    return size_bytes, max((look.st_mtime_ns // 1000 for look in looks), default=0)


def text_tag(text: str) -> str:
    """What an inline text is known by in a plan: another text is another source."""
    return blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def media_id_of(source: Source) -> str:
    """Identity of a source's content.

    Returns:
        Of one part, the BLAKE2b-128 of its bytes, as of any file, so that an image has one identity whether a manifest
        or a path names it. Of several, that of their sorted names of modalities, each with its part's own.

    Raises:
        MediaError: A file cannot be read.
    """
    sample = source.sample
    if sample is None or sample.video is not None:
        return media_id_of_file(Path(source.uri if sample is None else sample.files[0]))
    digests = sorted(_digests(sample))
    if not digests:
        message = f"{source.uri!r} has no image, no sound and no text; name one in the manifest"
        raise MediaError(message)
    if len(digests) == 1:
        return digests[0][1]
    joined = "".join(f"{modality}:{digest}\n" for modality, digest in digests)
    return blake2b(joined.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _digests(sample: Sample) -> Iterator[tuple[str, str]]:
    """Modality and identity of each part."""
    for modality, path in (("image", sample.image), ("audio", sample.audio), ("text", sample.text_file)):
        if path is not None:
            yield modality, media_id_of_file(Path(path))
    if sample.text is not None:
        yield "text", text_tag(sample.text)
