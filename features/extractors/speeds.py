"""How fast extractors are on this machine: measured on a made-up media, and kept in the user's cache folder."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import ExtractionError, StoreError
from features.extractors.device import decode_threads, is_gpu, num_threads, pick_device
from features.extractors.engine import Loaded, extract_together
from features.identity import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from features.extractors.base import Extractor
    from features.extractors.engine import Extracted
    from features.records import MediaRows
    from features.spec import FeatureSpec

_SECONDS = 1.5
_FILE = ("triptych", "speeds.json")
_CPU_INFO = Path("/proc/cpuinfo")


class Speed(NamedTuple):
    """What an extractor does in a second, decoding its pictures and sound included, its model's loading not.

    Attributes:
        items_per_second: Rows that it makes.
        media_seconds_per_second: Seconds of media that it goes through; 60 is sixty times real time.
    """

    items_per_second: float
    media_seconds_per_second: float


def measure_speed(extractor: Extractor, device: str = "auto") -> Speed:
    """Run an extractor over a made-up media again and again for a second or two, once before to warm up.

    Of a recogniser it is an estimate: it hears words in sound that has none.

    Raises:
        ConfigError: There is no such device.
        ExtractionError: Its weights are missing, or it fails on the media.
    """
    from features.extractors.speed_media import MEDIA_SECONDS, make_media

    chosen = pick_device(device)
    loaded = Loaded(extractor, extractor.load(chosen), extractor.batch_size_on(chosen))
    media, threads = make_media(), decode_threads(chosen, 0)
    _run(loaded, iter([media]), threads)
    begun = time.perf_counter()
    results = _run(loaded, _until(begun + _SECONDS, media), threads)
    passed = time.perf_counter() - begun
    num_rows = sum(len(result.rows) for result in results)
    return Speed(num_rows / passed, len(results) * MEDIA_SECONDS / passed)


def known_speeds(device: str = "auto") -> Mapping[str, Speed]:
    """Speeds measured on this CPU, on this device, with as many threads, by the fingerprint of the extractor's spec.

    A file that is missing or damaged holds none.

    Raises:
        ConfigError: There is no such device, where any speed is known.
    """
    kept = _read()
    return _Machine.of(device).speeds(kept) if kept else {}


def keep_speed(spec: FeatureSpec, speed: Speed, device: str = "auto") -> None:
    """Keep what was measured for `known_speeds`.

    Raises:
        StoreError: The cache folder cannot be written.
        ConfigError: There is no such device.
    """
    path, kept = cache_file(), _read()
    kept[_Machine.of(device).key(spec.fingerprint)] = list(speed)
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        hidden.replace(path)
    except OSError as error:
        with suppress(OSError):
            hidden.unlink()
        message = (
            f"cannot keep speeds in {str(path)!r} ({error.strerror or error}); set XDG_CACHE_HOME to another folder"
        )
        raise StoreError(message) from error


def cache_file() -> Path:
    """Where speeds are kept: below `XDG_CACHE_HOME`, or `~/.cache` where that is not an absolute path."""
    stated = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (stated if stated.is_absolute() else Path.home() / ".cache").joinpath(*_FILE)


class _Machine(NamedTuple):
    """What a speed depends on beside the extractor."""

    cpu: str
    device: str
    threads: int

    @classmethod
    def of(cls, device: str) -> _Machine:
        chosen = pick_device(device)
        return cls(_cpu_name(), _gpu_name(chosen) if is_gpu(chosen) else chosen, num_threads())

    def key(self, spec_fingerprint: str) -> str:
        """Key of an extractor's speed in the file."""
        return f"{spec_fingerprint} {fingerprint('|'.join(map(str, self)))}"

    def speeds(self, kept: Mapping[str, Any]) -> dict[str, Speed]:
        """Those of this machine, by the fingerprint of the spec."""
        ending = self.key("")
        return {
            key.removesuffix(ending): Speed(*map(float, numbers))
            for key, numbers in kept.items()
            if key.endswith(ending) and _is_speed(numbers)
        }


def _run(loaded: Loaded, medias: Iterator[MediaRows], threads: int) -> list[Extracted]:
    results = [result for (result,) in extract_together([loaded], medias, threads=threads)]
    for result in results:
        if result.error is not None:
            message = (
                f"{loaded.extractor.spec.key!r} cannot be measured: {result.message}; see that it can be extracted"
            )
            raise ExtractionError(message)
    return results


def _until(end: float, media: MediaRows) -> Iterator[MediaRows]:
    """The media again and again until a time, once at least."""
    yield media
    while time.perf_counter() < end:
        yield media


def _read() -> dict[str, Any]:
    try:
        kept = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _is_speed(numbers: Any) -> bool:  # noqa: ANN401 - as JSON has it
    if not isinstance(numbers, list) or len(numbers) != len(Speed._fields):
        return False
    return all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)


def _cpu_name() -> str:
    """The CPU's model; where the system does not tell it, its architecture."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


def _gpu_name(device: str) -> str:
    import torch

    return str(torch.cuda.get_device_name(torch.device(device)))
