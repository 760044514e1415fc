"""`hub_audio` against the models called directly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModel, WhisperModel

from features.errors import ExtractionError
from features.extractors.hub_audio import SHORTEST_US, WINDOW_US, HubAudio, windows_of
from features.identity import MICROSECONDS, Span
from tests.extractors import tiny_models as tiny
from tests.extractors.making import RATE_HZ, chunks_of, media, run

if TYPE_CHECKING:
    from pathlib import Path

    from features.extractors.engine import Extracted
    from features.records import MediaRows


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    loudness = np.repeat(generator.uniform(0.01, 0.3, 200), round(RATE_HZ / 4))[: round(seconds * RATE_HZ)]
    return (loudness * generator.uniform(-1, 1, len(loudness))).astype(np.float32)


def heard(samples: np.ndarray) -> np.ndarray:
    """Samples as the store gives them back."""
    return (np.round(samples * 32767).astype(np.int16) / 32768).astype(np.float32)


def results_of(folder: Path, medias: list[MediaRows], batch_size: int = 8) -> list[Extracted]:
    extractor = HubAudio(str(folder))
    return run(extractor, medias, model=extractor.load("cpu"), batch_size=batch_size)


@pytest.mark.parametrize(
    ("kind", "options", "processor"),
    [
        ("Wav2Vec2", {}, {}),
        ("Wav2Vec2", {"feat_extract_norm": "layer", "do_stable_layer_norm": True}, {"return_attention_mask": True}),
        ("Hubert", {}, {"do_normalize": False}),
        ("WavLM", {}, {}),
    ],
)
def test_rows_are_means_of_the_models_states(
    tmp_path: Path, kind: str, options: dict[str, object], processor: dict[str, object]
) -> None:
    folder = tiny.waveform(tmp_path / "model", kind, **options)
    tiny.edit_json(folder / "preprocessor_config.json", **processor)
    samples = noise(9)
    (result,) = results_of(folder, [media(audio=chunks_of(samples, chunk_seconds=2.5))])
    assert [(row.start_us, row.end_us) for row in result.rows] == [
        (0, 4_000_000),
        (4_000_000, 8_000_000),
        (8_000_000, 9_000_000),
    ]
    prepare = AutoFeatureExtractor.from_pretrained(folder)
    reference = tiny.quietly(AutoModel.from_pretrained, folder).eval()
    windows = [heard(samples)[begin : begin + 4 * RATE_HZ] for begin in range(0, len(samples), 4 * RATE_HZ)]
    with torch.inference_mode():
        inputs = [prepare(window, sampling_rate=RATE_HZ, return_tensors="pt").input_values for window in windows]
        expected = [reference(one).last_hidden_state[0].mean(dim=0).numpy() for one in inputs]
    found = tiny.values([result])
    assert np.ptp(found, axis=0).max() > 0.001
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_whispers_encoder_hears_seven_windows_at_once(tmp_path: Path) -> None:
    folder = tiny.whisper(tmp_path / "model")
    samples = noise(33)
    (result,) = results_of(folder, [media(audio=chunks_of(samples))])
    prepare = AutoFeatureExtractor.from_pretrained(folder)
    encoder = tiny.quietly(WhisperModel.from_pretrained, folder).eval().get_encoder()
    expected = []
    with torch.inference_mode():
        for begin, end in ((0, 28), (28, 33)):
            block = heard(samples)[begin * RATE_HZ : end * RATE_HZ]
            states = encoder(prepare(block, sampling_rate=RATE_HZ, return_tensors="pt").input_features)[0][0]
            assert states.shape == (1500, 32)  # one every 20 ms
            cuts = range(0, end - begin, 4)
            expected += [states[50 * cut : 50 * min(cut + 4, end - begin)].mean(dim=0).numpy() for cut in cuts]
    assert [row.end_us for row in result.rows] == [4_000_000 * index for index in range(1, 9)] + [33_000_000]
    np.testing.assert_allclose(tiny.values([result]), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["Wav2Vec2", "Whisper"])
def test_rows_do_not_depend_on_the_batch(tmp_path: Path, kind: str) -> None:
    folder = tiny.whisper(tmp_path / "m") if kind == "Whisper" else tiny.waveform(tmp_path / "m", kind)
    lengths = (4.0, 9.3, 0.6, 29.0)
    medias = [
        media(str(index), audio=chunks_of(noise(seconds, index), start_us=250_000 * index))
        for index, seconds in enumerate(lengths)
    ]
    reference = tiny.values(results_of(folder, medias, 3))
    for batch_size in (1, 7, 64):
        np.testing.assert_allclose(tiny.values(results_of(folder, medias, batch_size)), reference, atol=1e-5)


def test_windows_lie_on_the_timelines_grid() -> None:
    found = windows_of(Span(3_900_000, 8 * MICROSECONDS + SHORTEST_US))
    assert found == [Span(WINDOW_US, 2 * WINDOW_US), Span(2 * WINDOW_US, 8 * MICROSECONDS + SHORTEST_US)]
    assert windows_of(Span(0, SHORTEST_US - 1)) == []
    assert windows_of(Span(1, WINDOW_US)) == [Span(1, WINDOW_US)]


def test_sound_too_short_for_a_window_has_no_row(tmp_path: Path) -> None:
    (result,) = results_of(tiny.waveform(tmp_path / "model", "Hubert"), [media(audio=chunks_of(noise(0.2)))])
    assert result.status == "empty"


def test_another_rate_or_kind_of_input_is_refused(tmp_path: Path) -> None:
    folder = tiny.waveform(tmp_path / "model", "Wav2Vec2")
    tiny.edit_json(folder / "preprocessor_config.json", sampling_rate=8000)
    with pytest.raises(ExtractionError, match=r"prepares sound by Wav2Vec2FeatureExtractor at 8000 Hz, not .* 16000"):
        HubAudio(str(folder)).load("cpu")
    with pytest.raises(ExtractionError, match=r"cannot load .*words"):
        HubAudio(str(tiny.bert(tmp_path / "words"))).load("cpu")
