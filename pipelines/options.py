"""Configurations of the jobs, declared once: flags, TOML keys and the Prefect form's fields come from them."""

from __future__ import annotations

import json
import os
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from features.errors import ConfigError
from features.media.sampling import parse_frames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from features.sources.spool import Fetching


def option(default: Any, text: str, *, positional: bool = False) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A dataclass field with its help text.

    Args:
        default: Value when nothing is given.
        text: What the option does, with its unit; shown by `--help` and in the form.
        positional: The command line takes it without a flag.
    """
    return field(default=default, metadata={"help": text, "positional": positional})


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a job runs."""

    runner: Literal["in-process", "multi"] = option("multi", "in-process (one process) or multi (a process a worker)")
    workers: int = option(0, "worker processes with --runner multi; 0: one a core")
    wave_batches: int = option(0, "batches a wave, the most that a kill costs; 0: twice the workers")
    stall_seconds: int = option(900, "kill and retry a wave that gives no sign of life for so many seconds")
    wave_attempts: int = option(3, "times that a wave is tried before the run fails")

    @property
    def num_workers(self) -> int:
        """Worker processes, at least one."""
        if self.runner == "in-process":
            return 1
        return self.workers or os.cpu_count() or 1

    @property
    def wave_size(self) -> int:
        """Batches a wave."""
        return self.wave_batches or 2 * self.num_workers


@dataclass(frozen=True, kw_only=True)
class DecodeConfig(RunConfig):
    """How sources are decoded and grouped."""

    frames: str = option("1/s", "pictures to keep: so many in so many seconds (1/s, 1/10s), keyframes, shots, all")
    frame_size: int = option(360, "pixels of a picture's short side; pictures are never enlarged")
    jpeg_quality: int = option(90, "JPEG quality, 1 to 100")
    shots: bool = option(False, "find the shots, from the same decode; every frame is decoded then")
    motion: bool = option(False, "measure movement between adjacent frames; every frame is decoded then")
    audio_language: str = option("", "language of the sound to take of several: de, eng, …; default: the default track")
    decode_stall_seconds: int = option(120, "end a decoder that gives no sign of life for so many seconds")
    decode_seconds_a_second: int = option(20, "seconds that decoding may take a second of media, beside 300")
    decode_memory_megabytes: int = option(2048, "megabytes of memory that decoding one media may take")
    decode_output_megabytes: int = option(16384, "megabytes of rows that one media may come to")
    scratch: str = option("", "folder for copies of remote sources; default: the system's for temporary files")
    scratch_megabytes: int = option(16384, "megabytes that copies of remote sources may take, in each worker")
    allow_private_addresses: bool = option(
        False, "fetch from web servers at private addresses too: by default a URL may not lead into your own network"
    )
    span_minutes: int = option(10, "minutes of a longer video that a worker decodes at a time; 0: never share one")
    batch_megabytes: int = option(1024, "megabytes of sources in a batch, at most")
    batch_sources: int = option(256, "sources in a batch, at most")
    consent: str = option(
        "", "who agreed to what, a TOML file; default: TRIPTYCH_CONSENT, or consent.toml in the store"
    )


def decode_config(config: DecodeConfig) -> str:
    """The options that change what is decoded, as JSON (fields of `DecodeOptions`); kept with every plan and file."""
    sampling, interval_us = parse_frames(config.frames)
    options: dict[str, object] = {
        "frame_interval_us": interval_us,
        "frame_short_side": config.frame_size,
        "jpeg_quality": config.jpeg_quality,
    }
    others: dict[str, object] = {
        "sampling": sampling if sampling != "interval" else "",
        "shots": config.shots,
        "motion": config.motion,
        "audio_language": config.audio_language,
    }
    options |= {name: value for name, value in others.items() if value}
    return json.dumps(options, sort_keys=True)


def fetching_of(config: DecodeConfig) -> Fetching:
    """How remote sources are copied."""
    from features.sources.spool import Fetching

    return Fetching(config.scratch_megabytes << 20, config.allow_private_addresses, config.scratch)


@dataclass(frozen=True, kw_only=True)
class IngestConfig(DecodeConfig):
    """What is ingested, and how."""

    sources: tuple[str, ...] = option(
        (), "folders, globs, files or manifests (CSV, Parquet, JSON Lines)", positional=True
    )
    also: tuple[str, ...] = option((), "what folders are searched for beside videos: images, sounds, texts (a,b,…)")
    labels_from: str = option(
        "", "folder[:TASK]: a file's folder is its label, of the task TASK (default class), in labels/TASK"
    )
    settle_seconds: int = option(
        0, "leave sources that changed in the last so many seconds, which may still be written, for the next run"
    )
    limit: int = option(0, "ingest at most so many new sources; 0: all")
    refuse: tuple[str, ...] = option((), "globs of sources whose use was refused: one row each, without content")


@dataclass(frozen=True, kw_only=True)
class InferenceConfig(RunConfig):
    """How extractors run."""

    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    batch_size: int = option(0, "items a call of the model; 0: as the extractor states; halved where memory runs out")
    decode_threads: int = option(0, "threads that decode ahead of the model; 0: none beside the CPU, up to 8 for a GPU")


@dataclass(frozen=True, kw_only=True)
class ExtractConfig(InferenceConfig):
    """Which features are extracted, and how."""

    extractors: tuple[str, ...] = option((), "extractors; default: all four", positional=True)
    skip_black: bool = option(False, "leave black pictures out: the features are named NAME_nonblack")
    skip_silence: bool = option(False, "leave silent sound out: the features are named NAME_nonsilent")


@dataclass(frozen=True, kw_only=True)
class RetryConfig(DecodeConfig, InferenceConfig):
    """How often what failed is tried, and how."""

    max_attempts: int = option(3, "attempts at a source or media in a stage, the first one too")


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(RunConfig):
    """Which model scores the archive."""

    model: str = option("", "NAME or NAME@VERSION; default version: the newest", positional=True)


@dataclass(frozen=True, kw_only=True)
class NightlyConfig(IngestConfig, ExtractConfig):
    """The whole run: ingest, extract, label, train, score, report."""

    extractors: tuple[str, ...] = option((), "extractors; default: all four")
    labels: str = option("", "labels to load after ingest: a CSV, Parquet or JSON Lines file")
    recipe: str = option("sentiment", "recipe to train when its labels changed: a name or a TOML file")
    report: str = option("", "where the report goes; default: report.html in the store")


def option_fields(config: type[Any]) -> dict[str, tuple[Field[Any], Any]]:
    """Fields of a configuration by name, each with its resolved type."""
    hints = get_type_hints(config)
    return {item.name: (item, hints[item.name]) for item in fields(config)}


def config_from_mapping(config: type[Any], values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - an instance of `config`
    """A configuration from TOML keys, flags or a form; lists become tuples, values are checked.

    Raises:
        ConfigError: A key is unknown, or a value has the wrong type or is out of range.
    """
    import difflib

    known = option_fields(config)
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            message = f"unknown option {key!r}; {hint}"
            raise ConfigError(message)
        checked[key] = _checked(key, value, known[key][1])
    made = config(**checked)
    _check_ranges(made)
    return made


def default_of(item: Field[Any]) -> Any:  # noqa: ANN401 - any option's value
    """The default of an option."""
    return None if item.default is MISSING else item.default


def _checked(key: str, value: Any, kind: Any) -> Any:  # noqa: ANN401 - values come from outside
    if get_origin(kind) is tuple:
        items = [value] if isinstance(value, str) else value
        if isinstance(items, list | tuple) and all(isinstance(item, str) for item in items):
            return tuple(items)
    elif get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        message = f"{key} must be one of {', '.join(get_args(kind))}, not {value!r}"
        raise ConfigError(message)
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    message = f"{key} must be {getattr(kind, '__name__', kind)}, not {value!r}"
    raise ConfigError(message)


_AT_LEAST = {
    "workers": 0,
    "wave_batches": 0,
    "stall_seconds": 1,
    "wave_attempts": 1,
    "limit": 0,
    "frame_size": 16,
    "jpeg_quality": 1,
    "span_minutes": 0,
    "decode_stall_seconds": 1,
    "decode_seconds_a_second": 1,
    "decode_memory_megabytes": 256,
    "decode_output_megabytes": 1,
    "scratch_megabytes": 1,
    "settle_seconds": 0,
    "batch_megabytes": 1,
    "batch_sources": 1,
    "batch_size": 0,
    "decode_threads": 0,
    "max_attempts": 1,
}
_AT_MOST = {"jpeg_quality": 100}


def _check_ranges(config: Any) -> None:  # noqa: ANN401 - any configuration
    for name, smallest in _AT_LEAST.items():
        if getattr(config, name, smallest) < smallest:
            message = f"{name} must be at least {smallest}, not {getattr(config, name)!r}"
            raise ConfigError(message)
    for name, largest in _AT_MOST.items():
        if getattr(config, name, largest) > largest:
            message = f"{name} must be at most {largest}, not {getattr(config, name)!r}"
            raise ConfigError(message)
    if isinstance(config, DecodeConfig):
        parse_frames(config.frames)
