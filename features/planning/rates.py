"""What work costs: CPU seconds of each stage, and bytes of each table, before any run has told better.

The figures were measured on one core of an AMD EPYC, of 1280x720 H.264 at 25 frames a second
(`features/media/SAMPLING.md`) and of drawn clips. Earlier runs of a store scale them (`features.planning.records`), and
`triptych features --measure` tells those of an extractor on this machine.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from features.identity import MICROSECONDS
from features.schema import TOKENS_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from features.extractors.speeds import Speed
    from features.media.options import DecodeOptions
    from features.planning.work import Work
    from features.spec import FeatureSpec

BY_DEFAULT = "default"
BY_MEASURE = "measured here"

_DECODE_SECONDS_A_MEGAPIXEL = 0.0030
_SHOTS_SECONDS_A_MEGAPIXEL = 0.0025
_MOTION_SECONDS_A_MEGAPIXEL = 0.0043
_PICTURE_SECONDS_A_MEGAPIXEL = 0.0145  # scaled, encoded and looked at
_SOUND_SECONDS_A_SECOND = 0.0051
_HASH_SECONDS_A_BYTE = 1.2e-9
_SECONDS_A_MEDIA = 0.015
_SCORE_SECONDS_A_SECOND = 0.0005
# Share of the frames that are decoded for a picture every so many seconds, in powers of ten.
_INTERVAL_POWERS = (-1.4, -0.7, 0.0, 1.0)
_INTERVAL_SHARES = (1.0, 0.85, 0.66, 0.28)
_KEYFRAMES_SHARE = 0.14

_START_SECONDS = {"ingest": (2.0, 3.0), "extract": (3.0, 6.0), "score": (3.0, 6.0)}
"""CPU seconds of a wave, and of each of its workers, before there is anything to do."""

_UTTERANCES_A_SECOND = 0.25
_ITEM_SECONDS = {  # of one row
    "efficientnet_lite0": 0.0131,
    "mfcc": 0.00097,
    "mel": 0.00074,
    "prosody": 0.0109,
    "minilm": 0.0060,
    "tokens": 0.0002,
    "pocketsphinx": 1.2,
}
_ITEM_SECONDS_OF_INPUTS = {"frames": 0.02, "audio": 0.005, "transcripts": 0.01}
_EVERY = re.compile(r"one every (\d+(?:\.\d+)?) seconds")
_BYTES_A_NUMBER = {"efficientnet_lite0": 2.2}  # half of its numbers are zeros
_USUAL_BYTES_A_NUMBER = 3.8
_RECOGNISED_BYTES_A_ROW = 300.0
_TEXT_BYTES_A_ROW = 60.0

FILE_BYTES = {"frames": 6500.0, "audio": 5000.0, "media": 8500.0, "sources": 3000.0, "source_results": 2100.0}
"""Of a file of a table beside its rows: schema, statistics, lineage."""

USUAL_FILE_BYTES = 2500.0
_ROW_BYTES = {"frames": 95.0, "audio": 40.0, "media": 150.0, "sources": 80.0, "source_results": 60.0}
_COVERAGE_ROW_BYTES = 25.0
_SCORE_ROW_BYTES = 80.0


class Cost(NamedTuple):
    """CPU seconds, and where the figure is from."""

    cpu_seconds: float
    origin: str


def ingest_cost(work: Work, options: DecodeOptions) -> Cost:
    """Of hashing, decoding once and writing."""
    if options.sampling in ("all", "shots") or options.shots or options.motion:
        share = 1.0
    elif options.sampling == "keyframes":
        share = _KEYFRAMES_SHARE
    else:
        power = math.log10(options.frame_interval_us / MICROSECONDS)
        share = float(np.interp(power, _INTERVAL_POWERS, _INTERVAL_SHARES))
    of_a_megapixel = share * _DECODE_SECONDS_A_MEGAPIXEL
    of_a_megapixel += _SHOTS_SECONDS_A_MEGAPIXEL if options.shots or options.sampling == "shots" else 0.0
    of_a_megapixel += _MOTION_SECONDS_A_MEGAPIXEL if options.motion else 0.0
    seconds = work.video_megapixels * of_a_megapixel + work.picture_megapixels * _PICTURE_SECONDS_A_MEGAPIXEL
    seconds += work.audio_seconds * _SOUND_SECONDS_A_SECOND + work.size_bytes * _HASH_SECONDS_A_BYTE
    return Cost(seconds + work.num_media * _SECONDS_A_MEDIA, BY_DEFAULT)


def extract_cost(spec: FeatureSpec, work: Work, speeds: Mapping[str, Speed]) -> Cost:
    """Of an extractor.

    Args:
        spec: What it makes.
        work: What it has to go through.
        speeds: Speeds that were measured on this machine, by the fingerprint of the spec.
    """
    speed = speeds.get(spec.fingerprint)
    if speed is not None and speed.media_seconds_per_second > 0:
        if spec.inputs == "audio":  # that of a recogniser is told by its sound, not by how much it hears
            return Cost(work.audio_seconds / speed.media_seconds_per_second, BY_MEASURE)
        return Cost(num_rows(spec, work) / max(speed.items_per_second, 1e-9), BY_MEASURE)
    of_a_row = _ITEM_SECONDS.get(spec.name, _ITEM_SECONDS_OF_INPUTS[spec.inputs])
    return Cost(num_rows(spec, work) * of_a_row, BY_DEFAULT)


def score_cost(work: Work) -> Cost:
    """Of a model."""
    return Cost(work.media_seconds * _SCORE_SECONDS_A_SECOND, BY_DEFAULT)


def start_seconds(stage: str, num_waves: int, num_workers: int) -> float:
    """CPU seconds that waves of a stage take before they do anything."""
    of_a_wave, of_a_worker = _START_SECONDS[stage]
    return num_waves * (of_a_wave + num_workers * of_a_worker)


def wall_start_seconds(stage: str, num_waves: int) -> float:
    """Seconds that waves of a stage take to start, whose workers start side by side."""
    return num_waves * sum(_START_SECONDS[stage])


def num_utterances(work: Work) -> float:
    """Stretches of text, recognised ones where there is no other: a guess."""
    return max(work.text_seconds, work.audio_seconds) * _UTTERANCES_A_SECOND


def num_rows(spec: FeatureSpec, work: Work) -> float:
    """Rows that an extractor will make."""
    if spec.inputs == "frames":
        return work.num_pictures
    every = _EVERY.fullmatch(spec.rate)
    if spec.inputs == "transcripts":
        return num_utterances(work)
    if spec.output == "transcripts":
        return work.audio_seconds * _UTTERANCES_A_SECOND
    return work.audio_seconds / float(every[1]) if every else work.audio_seconds


def table_bytes(table: str, work: Work, num_files: int) -> float:
    """Size of a table that ingest writes."""
    num_media = max(work.num_media, 0.0)
    content = {
        "frames": work.picture_bytes + work.num_pictures * _ROW_BYTES["frames"],
        "audio": work.sound_bytes + (num_media + work.audio_seconds / 60) * _ROW_BYTES["audio"],
        "transcripts": work.text_seconds * _UTTERANCES_A_SECOND * _TEXT_BYTES_A_ROW,
    }
    return content.get(table, num_media * _ROW_BYTES.get(table, 0.0)) + num_files * file_bytes(table)


def extracted_bytes(spec: FeatureSpec, work: Work, num_files: int) -> float:
    """Size of an extractor's table."""
    if spec.output == "transcripts":
        of_a_row = _RECOGNISED_BYTES_A_ROW
    else:
        numbers = math.prod(spec.shape) or 1
        of_a_number = 1.0 if spec.table.startswith(TOKENS_PREFIX) else _USUAL_BYTES_A_NUMBER
        of_a_row = numbers * _BYTES_A_NUMBER.get(spec.name, of_a_number)
    return num_rows(spec, work) * of_a_row + num_files * file_bytes(spec.table)


def coverage_bytes(work: Work, num_files: int) -> float:
    """Size of an extractor's coverage."""
    return work.num_media * _COVERAGE_ROW_BYTES + num_files * USUAL_FILE_BYTES


def score_bytes(work: Work, num_files: int, segment_seconds: float = 10.0) -> float:
    """Size of a model's scores."""
    return work.media_seconds / segment_seconds * _SCORE_ROW_BYTES + num_files * USUAL_FILE_BYTES


def file_bytes(table: str) -> float:
    """Of a file of a table, beside its rows."""
    return FILE_BYTES.get(table, USUAL_FILE_BYTES)
