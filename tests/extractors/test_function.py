"""Extractors made of functions: what the function gets, where the rows lie, what it costs to fail."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from features.errors import ConfigError
from features.extractors.function import from_function
from features.extractors.registry import package_of
from features.media.pictures import decode_jpeg
from features.records import FeatureRow
from tests.extractors.making import chunks_of, frames_of, media, picture, run, sine, utterances_of

if TYPE_CHECKING:
    from features.extractors.engine import Extracted


@from_function("brightness", modality="video", shape=(1,), version=3, units="0 to 1", source="here", licence="MIT")
def brightness(rgb: np.ndarray) -> list[float]:
    """How bright a picture is."""
    return [rgb.mean() / 255 + 1e-6]


@from_function("tail", modality="audio", shape=(2,), window_seconds=2)
def tail(samples: np.ndarray) -> tuple[int, float]:
    return len(samples), samples[-1]


@from_function("letters", modality="text", shape=(2, 2))
def letters(text: str) -> list[list[int]]:
    if text == "bad":
        message = "a bad word"
        raise ValueError(message)
    return [[len(text), text.count("a")], [0, text.count("o")]]


def _values(result: Extracted) -> np.ndarray:
    return np.array([row.values for row in result.rows if isinstance(row, FeatureRow)])


def test_a_function_of_pictures() -> None:
    frames = frames_of([picture(1), picture(2)])
    (result,) = run(brightness(), [media(frames=frames)], model=brightness().load("auto"))
    expected = [[decode_jpeg(frame.jpeg).mean() / 255 + 1e-6] for frame in frames]
    np.testing.assert_allclose(_values(result), expected, rtol=1e-6)
    assert [(row.start_us, row.end_us) for row in result.rows] == [(0, 1_000_000), (1_000_000, 2_000_000)]


def test_a_function_of_sound_gets_windows_on_the_grid() -> None:
    sound = sine(4.7)
    (result,) = run(tail(), [media(audio=chunks_of(sound, start_us=1_000_000))], model=tail().load("cpu"))
    assert [(row.start_us, row.end_us) for row in result.rows] == [
        (1_000_000, 2_000_000),
        (2_000_000, 4_000_000),
        (4_000_000, 5_700_000),
    ]
    ends = [16_000, 48_000, 75_200]
    np.testing.assert_allclose(
        _values(result), [[n, sound[e - 1]] for n, e in zip([16e3, 32e3, 27.2e3], ends, strict=True)], atol=1e-4
    )


def test_a_window_cut_shorter_than_a_quarter_is_left_out() -> None:
    for seconds, windows in ((2.4, 1), (2.5, 2)):
        (result,) = run(tail(), [media(audio=chunks_of(sine(seconds)))], model=tail().load("cpu"))
        assert len(result.rows) == windows


def test_a_function_of_text_gets_it_clean_and_an_item_it_raises_on_costs_itself() -> None:
    texts = utterances_of("ﬁne\n day", "bad", "\u200b", "good\x00")
    (result,) = run(letters(), [media(utterances=texts)], model=letters().load("cpu"))
    np.testing.assert_array_equal(_values(result), [[8, 1, 0, 0], [4, 0, 0, 2]])
    assert (result.status, result.error) == ("partial", "ValueError")
    assert result.message is not None
    assert "a bad word" in result.message


def test_a_picture_cannot_be_written_into() -> None:
    @from_function("spoiler", modality="video", shape=(1,))
    def spoiler(rgb: np.ndarray) -> list[int]:
        rgb[:] = 0
        return [1]

    (result,) = run(spoiler(), [media(frames=frames_of([picture(1)]))], model=spoiler().load("cpu"))
    assert result.status == "failed"
    assert "read-only" in str(result.message)


def test_values_of_another_size_and_zeros_are_refused() -> None:
    values = iter([[0.0], [1.0, 2.0], [1.0]])

    @from_function("odd", modality="text", shape=(1,))
    def odd(text: str) -> list[float]:
        return next(values)

    (result,) = run(odd(), [media(utterances=utterances_of("a", "b", "c"))], model=odd().load("cpu"))
    np.testing.assert_array_equal(_values(result), [[1]])
    assert "zeros alone" in str(result.message)
    assert "2 values instead of 1" in str(result.message)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_rows_do_not_depend_on_the_batch(batch_size: int) -> None:
    medias = [media(str(n), audio=chunks_of(sine(n / 2 + 1, 100 + n))) for n in range(9)]
    found = run(tail(), medias, model=tail().load("cpu"), batch_size=batch_size)
    assert found == run(tail(), medias, model=tail().load("cpu"))


def test_the_spec_states_what_was_given() -> None:
    spec = brightness().spec
    assert (spec.key, spec.modality, spec.inputs, spec.shape) == ("brightness@3", "video", "frames", (1,))
    assert (spec.units, spec.source, spec.licence, spec.rate) == ("0 to 1", "here", "MIT", "one a frame")
    assert tail().spec.rate == "one every 2 seconds"
    assert dict(tail().spec.parameters)["window_us"] == "2000000"
    assert from_function("f", modality="audio", shape=(1,))(len)().spec.rate == "one a second"
    assert from_function("f", modality="face", shape=(1,))(len)().spec.inputs == "frames"


def test_the_class_is_the_functions() -> None:
    assert (brightness.__name__, brightness.__doc__) == ("brightness", "How bright a picture is.")
    assert package_of(brightness()) == "tests"
    assert type(pickle.loads(pickle.dumps(brightness()))) is brightness


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "Bright"}, "cannot be named 'Bright'"),
        ({"name": ""}, "cannot be named ''"),
        ({"modality": "smell"}, "'f' has the modality 'smell'; use one of video, audio, text, face, voice"),
        ({"shape": ()}, r"'f' has the shape \(\)"),
        ({"shape": (0,)}, r"'f' has the shape \(0,\)"),
        ({"shape": 3}, "'f' has the shape 3"),
        ({"version": 0}, "'f' has the version 0"),
        ({"version": "1"}, "'f' has the version '1'"),
        ({"window_seconds": 1}, "'f' reads frames, so it has no window_seconds, but 1 was given"),
        ({"modality": "audio", "window_seconds": 0}, "'f' has window_seconds 0; give a number of at least 0.01"),
        ({"modality": "audio", "window_seconds": float("nan")}, "'f' has window_seconds nan"),
        ({"modality": "voice", "window_seconds": "1"}, "'f' has window_seconds '1'"),
    ],
)
def test_a_wrong_argument_is_told_at_once(arguments: dict[str, Any], message: str) -> None:
    given = {"name": "f", "modality": "video", "shape": (1,)} | arguments
    with pytest.raises(ConfigError, match=message):
        from_function(given.pop("name"), **given)


@pytest.mark.parametrize("function", [lambda: 0, lambda a, b: 0, lambda *, a: 0, 3, brightness])
def test_what_is_no_function_of_one_item_is_refused(function: Any) -> None:
    with pytest.raises(ConfigError, match=r"'f'.*(one argument|a function of one item)"):
        from_function("f", modality="video", shape=(1,))(function)
