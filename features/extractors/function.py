"""An extractor out of a Python function over one picture, one window of sound or one utterance; see EXTENDING.md."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, get_args

import numpy as np

from features.errors import ConfigError
from features.extractors.device import limit_threads
from features.extractors.rows import SAMPLE_RATE_HZ, sound_windows
from features.extractors.shared import pictures
from features.extractors.simple import RowAnItem, text_items
from features.identity import MICROSECONDS
from features.spec import FeatureSpec, Inputs, Modality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from features.records import MediaRows

    Array = npt.NDArray[np.float32]
    Function = Callable[[Any], Any]

SHORTEST_WINDOW_SECONDS = 0.01
SHARE_KEPT = 4
"""Windows that the ends of the sound cut short are kept where they last one in so many of a full one."""

_INPUTS: Mapping[Modality, Inputs] = {
    "video": "frames",
    "face": "frames",
    "audio": "audio",
    "voice": "audio",
    "text": "transcripts",
}


class Item(NamedTuple):
    """What the function gets, and its place on the timeline."""

    start_us: int
    end_us: int
    content: Any


class FunctionModel:
    """The function as a model: there is nothing to load."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def __call__(self, content: Any) -> Array:  # noqa: ANN401 - a picture, samples or a text
        """The function's values as float32."""
        return np.asarray(self.function(content), np.float32)


class FunctionExtractor(RowAnItem):
    """Base of what `from_function` makes."""

    function: ClassVar[Function]
    window_us: ClassVar[int]

    def load(self, device: str) -> FunctionModel:
        """Nothing to load; it computes on the CPU, whatever the device."""
        limit_threads()
        return FunctionModel(type(self).function)

    def prepare(self, rows: MediaRows) -> Iterator[Item]:
        """Pictures, windows of sound, or cleaned texts, by what the spec reads."""
        match self.spec.inputs:
            case "frames":
                for frame, picture in pictures(rows):
                    yield Item(frame.valid_start_us, frame.valid_end_us, _read_only(picture))
            case "audio":
                for window in sound_windows(rows, window_us=self.window_us):
                    if (window.end_us - window.start_us) * SHARE_KEPT >= self.window_us:
                        yield Item(*window)
            case "transcripts":
                for said in text_items(rows):
                    yield Item(*said)

    def __call__(self, model: FunctionModel, items: Sequence[Item]) -> Sequence[Array]:
        """The function's values, an item at a time."""
        return [model(item.content) for item in items]


def from_function(
    name: str,
    *,
    modality: Modality,
    shape: tuple[int, ...],
    version: int = 1,
    window_seconds: float | None = None,
    units: str = "",
    source: str = "",
    licence: str = "",
) -> Callable[[Function], type[FunctionExtractor]]:
    """Make an extractor class of the function below it, to be named in a package's entry points.

    The function gets one item and gives its values, numbers of `shape`:

    - `video` or `face`: a picture, RGB, uint8, shape [height, width, 3], read-only: all extractors get the same;
    - `audio` or `voice`: samples of a window, float32 in [-1, 1] at 16 kHz, shape [num_samples]; windows lie on the
      multiples of `window_seconds` of the timeline, and those cut short are kept from a quarter of it;
    - `text`: an utterance, NFKC, without control characters, never empty.

    What raises, and values that are NaN, infinite, of another size or zeros alone cost the item, not its media.

    Args:
        name: Name of the extractor, `[a-z0-9_]+`.
        modality: What its features speak for, and so what it gets.
        shape: Shape of one item's values.
        version: To be raised whenever the function gives other values.
        window_seconds: Length of a window of sound, at least 0.01; 1 where it is not given.
        units: Unit of the values, in words.
        source: Publication or package of the method.
        licence: SPDX identifier of weights, where the function has some.

    Raises:
        ConfigError: An argument is wrong, or what is below is no function of one item.
    """
    _check_name_and_shape(name, modality, shape, version)
    inputs = _INPUTS[modality]
    window_us = _window_us(name, inputs, window_seconds)
    spec = FeatureSpec(
        name=name,
        version=version,
        modality=modality,
        inputs=inputs,
        shape=tuple(shape),
        rate=_rate(inputs, window_us),
        units=units,
        source=source,
        licence=licence,
        parameters=_parameters(inputs, window_us),
    )

    def wrap(function: Function) -> type[FunctionExtractor]:
        _check_function(name, function)
        described = {"__doc__": function.__doc__, "__module__": function.__module__, "__qualname__": function.__name__}
        made = {"spec": spec, "function": staticmethod(function), "window_us": window_us}
        return type(function.__name__, (FunctionExtractor,), described | made)

    return wrap


def _read_only(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    view = picture.view()
    view.flags.writeable = False
    return view


def _rate(inputs: Inputs, window_us: int) -> str:
    match inputs:
        case "frames":
            return "one a frame"
        case "audio":
            return "one a second" if window_us == MICROSECONDS else f"one every {window_us / MICROSECONDS:g} seconds"
        case "transcripts":
            return "one an utterance"


def _parameters(inputs: Inputs, window_us: int) -> tuple[tuple[str, str], ...]:
    """What beside the function changes values."""
    match inputs:
        case "frames":
            return ()
        case "audio":
            return (("sample_rate_hz", str(SAMPLE_RATE_HZ)), ("window_us", str(window_us)))
        case "transcripts":
            return (("text", "NFKC, no control characters, white space folded"),)


def _check_name_and_shape(name: str, modality: str, shape: tuple[int, ...], version: int) -> None:
    if not isinstance(name, str) or not re.fullmatch("[a-z0-9_]+", name):
        message = f"an extractor cannot be named {name!r}; use lower-case letters, digits and _"
        raise ConfigError(message)
    if modality not in _INPUTS:
        message = f"{name!r} has the modality {modality!r}; use one of {', '.join(get_args(Modality))}"
        raise ConfigError(message)
    is_shape = isinstance(shape, tuple | list) and shape and all(type(size) is int and size > 0 for size in shape)
    if not is_shape:
        message = f"{name!r} has the shape {shape!r}; give whole numbers from 1, such as (128,)"
        raise ConfigError(message)
    if type(version) is not int or version < 1:
        message = f"{name!r} has the version {version!r}; count from 1"
        raise ConfigError(message)


def _window_us(name: str, inputs: Inputs, seconds: float | None) -> int:
    """Length of a window; 0 for what is no sound."""
    if inputs != "audio":
        if seconds is not None:
            message = f"{name!r} reads {inputs}, so it has no window_seconds, but {seconds!r} was given; leave it out"
            raise ConfigError(message)
        return 0
    if seconds is None:
        return MICROSECONDS
    if not isinstance(seconds, int | float) or not SHORTEST_WINDOW_SECONDS <= seconds < float("inf"):
        message = f"{name!r} has window_seconds {seconds!r}; give a number of at least {SHORTEST_WINDOW_SECONDS}"
        raise ConfigError(message)
    return round(seconds * MICROSECONDS)


def _check_function(name: str, function: object) -> None:
    if not inspect.isroutine(function):
        message = f"{name!r} is made from {function!r}; write @from_function(…) above a function of one item"
        raise ConfigError(message)
    try:
        inspect.signature(function).bind("item")
    except TypeError as error:
        message = f"{name!r}: the function {function.__name__!r} does not take one item ({error}); give it one argument"
        raise ConfigError(message) from error
