"""From files straight to a prediction, without a store: decode, extract, align and score in memory."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from features.errors import ConfigError, ExtractionError
from features.extractors.engine import extract_media
from features.extractors.registry import get_extractor
from features.fusion.scoring import score_segments
from features.identity import media_id_of_file
from features.media.decode import decode_media, end_of, with_text
from features.media.options import DecodeOptions
from features.raw.source import MemoryRows
from features.records import FeatureRow, MediaRows, Utterance
from features.samples.loose import read_loose
from features.samples.record import IMAGE_SUFFIXES, SOUND_SUFFIXES, Sample, media_id_of
from features.spec import FeatureSpec
from features.store.import_spec import is_imported
from features.store.plan import Source
from features.store.rows import audio_rows, feature_rows, frame_rows, shot_rows, table_of, transcript_rows
from features.transcripts.choice import best_text
from features.transcripts.sidecars import find_sidecars, read_sidecars

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from features.extractors.base import Extractor
    from features.fusion.inputs import RawFound
    from features.fusion.loaded import LoadedModel
    from features.records import DecodedMedia

TEXT_SUFFIXES = frozenset({".ass", ".srt", ".ssa", ".txt", ".vtt"})


class Given(NamedTuple):
    """One media as it was named: a video with its sidecars, or the parts of a loose sample."""

    name: str
    media_id: str
    decoded: DecodedMedia


def read_given(files: Sequence[Path], options: DecodeOptions | None = None) -> Given:
    """Decode one video, or an image, a sound and a text (any of them) as one media.

    Raises:
        ConfigError: A file is missing, or the files do not make one media.
        MediaError: A file cannot be decoded.
    """
    for path in files:
        if not path.is_file():
            message = f"there is no file {str(path)!r}; check the path"
            raise ConfigError(message)
    options = options or DecodeOptions()
    if len(files) == 1 and files[0].suffix.lower() not in IMAGE_SUFFIXES | SOUND_SUFFIXES | TEXT_SUFFIXES:
        decoded = decode_media(files[0], options)
        utterances, _ = read_sidecars(find_sidecars(files[0]), media=files[0], end_us=end_of(decoded))
        return Given(files[0].name, media_id_of_file(files[0]), with_text(decoded, utterances))
    image = _only(files, IMAGE_SUFFIXES, "image")
    sound = _only(files, SOUND_SUFFIXES, "sound")
    text = _only(files, TEXT_SUFFIXES, "text")
    for path in files:
        if path not in (image, sound, text):
            message = f"{str(path)!r} is no image, sound or text; give one video, or an image, a sound and a text"
            raise ConfigError(message)
    parts = [None if path is None else str(path) for path in (image, sound, text)]
    source = Source(str(files[0]), 0, 0, sample=Sample(image=parts[0], audio=parts[1], text_file=parts[2]))
    name = " + ".join(path.name for path in files)
    return Given(name, media_id_of(source), read_loose(image, sound, text, options))


def read_parts(
    *,
    video: str | Path | None = None,
    image: str | Path | None = None,
    audio: str | Path | None = None,
    text: str | Path | None = None,
    options: DecodeOptions | None = None,
) -> Given:
    """Decode the parts of one media; a sound or text that is given takes the place of the video's own.

    Args:
        video: A video.
        image: A picture, instead of a video.
        audio: A sound.
        text: The words themselves, or the `Path` of a text or subtitle file.
        options: How they are decoded.

    Raises:
        ConfigError: Nothing is given, a file is missing, or both a video and an image are.
        MediaError: A file cannot be decoded.
    """
    if video is not None and image is not None:
        message = f"both a video ({str(video)!r}) and an image ({str(image)!r}) are given; give one of them"
        raise ConfigError(message)
    with tempfile.TemporaryDirectory() as folder:
        words = text
        if isinstance(text, str):
            words = Path(folder) / "text.txt"
            words.write_text(text, "utf-8")
        loose = [Path(part) for part in (image, audio, words) if part is not None]
        if video is None and not loose:
            message = "nothing is given to predict; give a video, an image, a sound or a text"
            raise ConfigError(message)
        if video is None:
            return read_given(loose, options)
        given = read_given([Path(video)], options)
        if not loose:
            return given
        beside = read_given(loose, options)
    decoded, added = given.decoded, beside.decoded
    end_us = end_of(decoded) or 0
    said = tuple(replace(one, end_us=end_us) if text is not None and audio is None else one for one in added.utterances)
    info = replace(
        decoded.info,
        has_audio=decoded.info.has_audio or added.info.has_audio,
        has_text=decoded.info.has_text or added.info.has_text,
        quality=decoded.info.quality if audio is None else added.info.quality,
    )
    joined = replace(decoded, info=info, audio=added.audio or decoded.audio, utterances=said or decoded.utterances)
    return Given(f"{given.name} + {beside.name}", given.media_id, joined)


def _only(files: Sequence[Path], suffixes: frozenset[str], kind: str) -> Path | None:
    found = [path for path in files if path.suffix.lower() in suffixes]
    if len(found) > 1:
        message = f"there are {len(found)} {kind}s ({', '.join(str(path) for path in found)}); give one {kind} a media"
        raise ConfigError(message)
    return found[0] if found else None


def predict(
    model: LoadedModel, given: Given, *, device: str = "auto", on_progress: Callable[[str], None] | None = None
) -> pa.Table:
    """Score one media with a trained model.

    Args:
        model: As of `load_model`.
        given: The media.
        device: Device of the extractors' models.
        on_progress: Called with each extractor's name before it runs.

    Returns:
        Rows of `scores/<model>`; a media that has none of the modalities is abstained from.

    Raises:
        ConfigError: The model scores shots, and none were looked for in the media; or it learned from features that
            were imported, which no extractor makes.
        ExtractionError: An extractor failed on the media.
        ModelError: An installed extractor differs from the one that the model learned from.
    """
    tell = on_progress or (lambda _: None)
    extractors = [_extractor_of(feature.name, model.feature_specs) for feature in model.recipe.tables]
    model.check_features({extractor.spec.key: extractor.spec.to_json() for extractor in extractors})
    utterances = best_text(given.decoded.utterances, language=given.decoded.info.language)
    if not utterances and given.decoded.info.has_audio and model.recipe.allow_recognised_text:
        utterances = _recognise(given, device, tell)
    features = {}
    for extractor in extractors:
        tell(extractor.spec.name)
        features[extractor.spec.key] = _features_of(extractor, _rows(given, extractor.spec, utterances), device)
    sources = {given.media_id: utterances[0].source} if utterances else {}
    return score_segments(
        model,
        media=_media_table(given),
        features=features,
        transcripts_sources=sources,
        transcripts=transcript_rows(given.media_id, utterances),
        shots=_shots(model, given),
        raw=_raw(model, given),
    )


def _raw(model: LoadedModel, given: Given) -> dict[str, Callable[[pa.Table], RawFound]]:
    """What computes the raw inputs that the model wants, from what was decoded."""
    if not model.recipe.raw_inputs:
        return {}
    from features.raw.segments import makers_of_raw  # with the decoders of pictures and sound

    decoded = given.decoded
    tables = {
        "frames": frame_rows(given.media_id, decoded.frames),
        "audio": audio_rows(given.media_id, decoded.audio),
    }
    return dict(makers_of_raw(model.recipe.raw_inputs, MemoryRows(tables)))


def options_of(model: LoadedModel) -> DecodeOptions:
    """How a media is to be decoded for a model."""
    return DecodeOptions(shots=model.recipe.score_segmentation == "shots")


def _shots(model: LoadedModel, given: Given) -> pa.Table | None:
    if model.recipe.score_segmentation != "shots":
        return None
    if given.decoded.info.has_video and given.decoded.shots is None:
        message = (
            f"model {model.recipe.name!r} scores shots, and {given.name!r} was read without them; give one video, read "
            "with the options that options_of(model) tells"
        )
        raise ConfigError(message)
    return shot_rows(given.media_id, given.decoded.shots or ())


def _extractor_of(key: str, specs: Mapping[str, str]) -> Extractor:
    spec = FeatureSpec.from_json(specs[key]) if key in specs else None
    if spec is not None and is_imported(spec):
        give = f"triptych import-features FILE --modality {spec.modality} --name {spec.name}"
        message = f"the model learned from {key}, which was imported, and no extractor makes it: ingest the media,"
        message += f" give its vectors ({give}), and score it"
        raise ConfigError(message)
    maker = spec.maker if spec is not None else key.partition("@")[0]
    extractor = get_extractor(maker)
    if extractor.spec.key != key:
        message = f"the model learned from {key}, but {extractor.spec.key} is installed; install that version"
        raise ExtractionError(message)
    return extractor


def _recognise(given: Given, device: str, tell: Callable[[str], None]) -> tuple[Utterance, ...]:
    recogniser = get_extractor("pocketsphinx")
    tell(recogniser.spec.name)
    found = _extract(recogniser, _rows(given, recogniser.spec, ()), device)
    return tuple(row for row in found if isinstance(row, Utterance))


def _features_of(extractor: Extractor, rows: MediaRows, device: str) -> pa.Table:
    found = _extract(extractor, rows, device)
    return feature_rows(rows.media_id, [row for row in found if isinstance(row, FeatureRow)], extractor.spec.table)


def _extract(extractor: Extractor, rows: MediaRows, device: str) -> tuple[FeatureRow | Utterance, ...]:
    (found,) = extract_media(extractor, extractor.load(device), [rows])
    if found.status == "failed":
        message = f"{extractor.spec.key} failed: {found.message}"
        raise ExtractionError(message)
    return found.rows


def _rows(given: Given, spec: FeatureSpec, utterances: tuple[Utterance, ...]) -> MediaRows:
    info = given.decoded.info
    return MediaRows(
        given.media_id,
        info.duration_us,
        info.has_video,
        info.has_audio,
        info.has_text,
        given.decoded.frames if spec.inputs == "frames" else (),
        given.decoded.audio if spec.inputs == "audio" else (),
        utterances if spec.inputs == "transcripts" else (),
        info.quality.loudness_lufs if info.quality else None,
    )


def _media_table(given: Given) -> pa.Table:
    info = given.decoded.info
    row = {"media_id": given.media_id, "name": given.name, "duration_us": info.duration_us, "consent": "unstated"}
    return table_of("media", [{**row, "subject_ids": []}])
