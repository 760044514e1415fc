"""`triptych features`: the extractors, and how fast they are here."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import ConfigError, TriptychError
from features.extractors.registry import extractor_names, get_extractor, takes
from flows.cli import EXIT_DONE, EXIT_FAILED
from flows.console import out, out_json, say, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from features.extractors.base import Extractor
    from features.extractors.speeds import Speed
    from flows.cli import Call

_HEADER = ("name", "modality", "reads", "makes", "rate", "licence", "items/s", "x real time")
_RAW_MODALITIES = {"frames": "video", "audio": "audio"}


class Listed(NamedTuple):
    """What there is to list.

    Attributes:
        ready: Extractors that are made by their names alone, or by what was asked for.
        wanting: Names of those that take a model or a folder, and what, in words.
        broken: Why others cannot be made.
    """

    ready: tuple[Extractor, ...]
    wanting: tuple[tuple[str, str], ...]
    broken: tuple[str, ...]


def run(call: Call) -> int:
    """List the extractors, or those named; measure them first where asked to."""
    listed = _named(call.arguments.names) if call.arguments.names else _all()
    problems = list(listed.broken)
    if call.arguments.measure:
        problems += _measure(listed.ready, call.arguments.device)
    speeds = _known(call.arguments.device)
    raw = () if call.arguments.names else _raw_inputs()
    if call.arguments.json:
        out_json(_as_json(listed, raw, speeds))
    else:
        _print(listed, raw, speeds)
    for problem in problems:
        say(f"triptych: {problem}")
    return EXIT_FAILED if problems else EXIT_DONE


def _named(makers: Sequence[str]) -> Listed:
    return Listed(tuple(get_extractor(maker) for maker in dict.fromkeys(makers)), (), ())


def _all() -> Listed:
    """Every extractor of this environment; one that cannot be made hides no other."""
    ready, wanting, broken = [], [], []
    for name in extractor_names():
        try:
            if wanted := takes(name):
                wanting.append((name, wanted))
            else:
                ready.append(get_extractor(name))
        except ConfigError as error:
            broken.append(str(error))
    return Listed(tuple(ready), tuple(wanting), tuple(broken))


def _measure(extractors: Sequence[Extractor], device: str) -> list[str]:
    """Measure and keep speeds; returns why some could not be."""
    from features.extractors.device import pick_device
    from features.extractors.speeds import keep_speed, measure_speed

    pick_device(device)
    problems = []
    for extractor in extractors:
        say(f"measuring {extractor.spec.maker}")
        try:
            keep_speed(extractor.spec, measure_speed(extractor, device), device)
        except Exception as error:  # noqa: BLE001 - an extractor may be anyone's code
            told = str(error) if isinstance(error, TriptychError) else f"{extractor.spec.key!r} raised {error!r}"
            problems.append(told)
    return problems


def _known(device: str) -> Mapping[str, Speed]:
    from features.extractors.speeds import known_speeds

    return known_speeds(device)


def _raw_inputs() -> tuple[dict[str, Any], ...]:
    """Inputs that are computed when they are read, and have no tables."""
    from features.reading.raw import RAW_TABLES, RawColumn

    return tuple(
        {"name": name, "modality": _RAW_MODALITIES[reads], "inputs": reads, "shape": RawColumn(name).shape}
        for name, reads in RAW_TABLES.items()
    )


def _as_json(listed: Listed, raw: Sequence[dict[str, Any]], speeds: Mapping[str, Speed]) -> list[dict[str, Any]]:
    ready = [
        {
            **dataclasses.asdict(extractor.spec),
            "speed": speed._asdict() if (speed := speeds.get(extractor.spec.fingerprint)) else None,
        }
        for extractor in listed.ready
    ]
    return [
        *ready,
        *({"name": name, "takes": wanted} for name, wanted in listed.wanting),
        *({**one, "computed": "on reading"} for one in raw),
    ]


def _print(listed: Listed, raw: Sequence[dict[str, Any]], speeds: Mapping[str, Speed]) -> None:
    rows = [_row(extractor, speeds) for extractor in listed.ready]
    computed = [
        (one["name"], one["modality"], one["inputs"], _size(one["shape"]), "computed on reading") for one in raw
    ]
    out(table(_HEADER, [*rows, *((*row, "", None, None) for row in computed)]))
    for name, wanted in listed.wanting:
        out(f"{name}:… takes a {wanted}")
    if any(extractor.spec.fingerprint not in speeds for extractor in listed.ready):
        out("speeds that are not known here: triptych features --measure [NAME…], a second or two each")


def _row(extractor: Extractor, speeds: Mapping[str, Speed]) -> tuple[object, ...]:
    spec, speed = extractor.spec, speeds.get(extractor.spec.fingerprint)
    makes = _size(spec.shape, spec.dtype) if spec.output == "features" else spec.output
    told = (_short(speed.items_per_second), _short(speed.media_seconds_per_second)) if speed else (None, None)
    name = spec.key if spec.maker == spec.name else f"{spec.key} ({spec.maker})"
    return (name, spec.modality, spec.inputs, makes, spec.rate, spec.licence, *told)


def _size(shape: tuple[int, ...], dtype: str = "float32") -> str:
    return "x".join(map(str, shape)) + (" integers" if dtype.startswith("int") else " floats")


def _short(number: float) -> str:
    """Two digits at least, and no more of a large one than whole numbers."""
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"
