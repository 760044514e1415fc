"""The records that travel between decoding, extraction, fusion and the tables: what a row means in Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from features.extractors.shared import MediaReader


WITH_ROWS = frozenset({"ok", "partial"})
"""What coverage says of media that an extractor has rows of."""

WITH_FAILURES = frozenset({"failed", "partial"})
"""What coverage says of media that have a dead letter: nothing of them, or not all, could be used."""


class PictureQuality(NamedTuple):
    """What cleaning asks of a picture.

    Attributes:
        brightness: Mean luma, 0 to 1.
        contrast: Standard deviation of luma, 0 to 0.5.
        sharpness: Variance of the Laplacian of luma (0 to 255) at a fixed size; low is blurred.
        change: Mean absolute difference of luma to the sampled picture before, 0 to 1; None for the first.
        picture_hash: Perceptual hash, 32 bytes, what counts most first; copies differ in few bits.
    """

    brightness: float
    contrast: float
    sharpness: float
    change: float | None
    picture_hash: bytes


class SoundQuality(NamedTuple):
    """What cleaning asks of a chunk of sound.

    Attributes:
        loudness_lufs: Integrated loudness (EBU R 128), None where all of it is below the gate.
        peak: Largest absolute sample, 0 to 1.
        clipped_share: Share of samples in runs at full scale, 0 to 1.
        silence_share: Share of its time that is silent, 0 to 1.
    """

    loudness_lufs: float | None
    peak: float
    clipped_share: float
    silence_share: float


class MediaQuality(NamedTuple):
    """Quality of a media as a whole; None where there is no such track.

    Attributes:
        black_share: Share of its sampled pictures that are black.
        frozen_share: Share that equal the one before.
        blurred_share: Share that are blurred.
        loudness_lufs: Integrated loudness (EBU R 128), None where all of it is below the gate.
        clipped_share: Share of samples in runs at full scale.
        silence_share: Share of its time that is silent.
        perceptual_hash: Hashes of some of its pictures, the same ones in a near-duplicate; None where all are plain.
    """

    black_share: float | None = None
    frozen_share: float | None = None
    blurred_share: float | None = None
    loudness_lufs: float | None = None
    clipped_share: float | None = None
    silence_share: float | None = None
    perceptual_hash: bytes | None = None


class Shot(NamedTuple):
    """A stretch between two transitions; `begins` is `start`, `cut` or `fade`."""

    start_us: int
    end_us: int
    begins: str


class Motion(NamedTuple):
    """Movement between adjacent frames over a stretch, in picture heights a second.

    Attributes:
        start_us: Start of the stretch.
        end_us: End of the stretch.
        mean: Mean speed over the picture and the frames.
        p95: 95th percentile of the speeds.
        camera: Speed of the movement that all of the picture shares.
        num_pairs: Pairs of frames that were compared.
    """

    start_us: int
    end_us: int
    mean: float
    p95: float
    camera: float
    num_pairs: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One sampled picture.

    Attributes:
        t_us: Presentation time of the decoded frame on the media's timeline, microseconds.
        duration_us: Its time on screen, microseconds.
        valid_start_us: Start of the stretch that it stands for (midpoint to the previous sample).
        valid_end_us: End of that stretch.
        jpeg: The picture, upright, encoded as JPEG.
        width: Pixels of the stored picture.
        height: Pixels of the stored picture.
        quality: For cleaning; None where it was not measured.
    """

    t_us: int
    duration_us: int
    valid_start_us: int
    valid_end_us: int
    jpeg: bytes
    width: int
    height: int
    quality: PictureQuality | None = None


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A chunk of mono sound as FLAC, `[start_us, end_us)` on the media's timeline."""

    start_us: int
    end_us: int
    flac: bytes
    sample_rate_hz: int
    quality: SoundQuality | None = None


class Word(NamedTuple):
    """One spoken word; `confidence` in [0, 1], or None where the recogniser gives none."""

    word: str
    start_us: int
    end_us: int
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of text. `language` is BCP 47 or None.

    `source` is `subtitle`, `sidecar` or `asr:<name>`; where a media has several texts, `name_tracks` says what more.
    """

    start_us: int
    end_us: int
    text: str
    source: str
    language: str | None = None
    speaker: str | None = None
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What decoding found out about a media as a whole; None where there is no such stream or fact.

    Attributes:
        container: FFmpeg's name of the container format.
        duration_us: End of the last picture, sound or text on the timeline, measured, not as the header claims.
        width: Displayed pixels (after rotation) of the source's pictures.
        height: Displayed pixels of the source's pictures.
        rotation: Clockwise degrees by which the stored pictures were turned to stand upright: 0, 90, 180, 270.
        frame_rate: Average frames a second, decoded frames over their time.
        sample_rate_hz: Rate of the source's sound.
        has_video: At least one picture was decoded.
        has_audio: At least one sample of sound was decoded.
        has_text: At least one utterance came from a subtitle track or a sidecar.
        language: Language of the default text or sound track, or None.
        quality: For cleaning; None where nothing was measured.
    """

    container: str
    duration_us: int
    width: int | None
    height: int | None
    rotation: int | None
    frame_rate: float | None
    sample_rate_hz: int | None
    has_video: bool
    has_audio: bool
    has_text: bool
    language: str | None = None
    quality: MediaQuality | None = None


class Missed(NamedTuple):
    """A part of a media that is not among its rows, and why: it costs itself, and the media is done without it.

    `part` is its place in the file, such as `track:3`; `error` the class of the error.
    """

    part: str
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class DecodedMedia:
    """All that one pass over a media yields, each part in order of time; `missed` is what it cannot yield.

    `shots` and `motions` are None where they were not asked for.
    """

    info: MediaInfo
    frames: tuple[Frame, ...] = ()
    audio: tuple[AudioChunk, ...] = ()
    utterances: tuple[Utterance, ...] = ()
    missed: tuple[Missed, ...] = ()
    shots: tuple[Shot, ...] | None = None
    motions: tuple[Motion, ...] | None = None


@dataclass(frozen=True, slots=True)
class MediaRows:
    """What an extractor gets of one media: only the tables that it reads are filled.

    `has_*` tell an absent track (`absent`) from one that has nothing in it (`empty`).

    Attributes:
        loudness_lufs: Integrated loudness of its sound (EBU R 128); None: not measured, or below the gate.
        reader: Decodes its rows once for several extractors (`features.extractors.shared`); None: each decodes them.
    """

    media_id: str
    duration_us: int
    has_video: bool
    has_audio: bool
    has_text: bool
    frames: tuple[Frame, ...] = ()
    audio: tuple[AudioChunk, ...] = ()
    utterances: tuple[Utterance, ...] = ()
    loudness_lufs: float | None = None
    reader: MediaReader | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class FeatureRow:
    """One feature vector over `[start_us, end_us)`; `values` are of the spec's dtype and shape, flattened."""

    start_us: int
    end_us: int
    values: npt.NDArray[np.float32] | npt.NDArray[np.int32]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FeatureRow):
            return NotImplemented
        is_same_span = (self.start_us, self.end_us) == (other.start_us, other.end_us)
        return is_same_span and list(self.values) == list(other.values)

    def __hash__(self) -> int:
        return hash((self.start_us, self.end_us))
