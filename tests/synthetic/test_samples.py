from __future__ import annotations

import numpy as np
import pytest

from features.errors import ConfigError
from features.synthetic.samples import (
    CLASSES,
    MODALITIES,
    draw_face,
    draw_labels,
    draw_latents,
    make_look,
    make_sentence,
    make_sound,
)


def _latents(noise: tuple[str, ...] = (), num_samples: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    labels = draw_labels(num_samples, rng)
    drawn = [draw_latents(label, rng, noise=noise) for label in labels]
    signs = np.array([1.0 if label == CLASSES[1] else -1.0 for label in labels])
    return np.array([[latents[modality] for modality in MODALITIES] for latents in drawn]), signs


def test_each_modality_tells_the_mood_in_part_and_all_three_tell_more() -> None:
    latents, signs = _latents()
    alone = ((latents > 0) == (signs > 0)[:, None]).mean(axis=0)
    fused = ((latents.sum(axis=1) > 0) == (signs > 0)).mean()
    assert np.all((alone > 0.70) & (alone < 0.80))
    assert 0.85 < fused < 0.92


def test_noise_is_independent_of_the_label_and_leaves_the_rest_alone() -> None:
    latents, signs = _latents(noise=("video", "text"))
    correlation = (latents * signs[:, None]).mean(axis=0)
    assert abs(correlation[0]) < 0.08
    assert abs(correlation[2]) < 0.08
    np.testing.assert_array_equal(latents[:, 1], _latents()[0][:, 1])


def test_unknown_noise_is_refused() -> None:
    with pytest.raises(ConfigError, match="'smell'"):
        draw_latents("positive", np.random.default_rng(0), noise=("smell",))


@pytest.mark.parametrize("num_samples", [1, 7, 48])
def test_labels_are_balanced(num_samples: int) -> None:
    labels = draw_labels(num_samples, np.random.default_rng(0))
    assert len(labels) == num_samples
    assert abs(labels.count("positive") - labels.count("negative")) <= 1


def test_a_face_is_a_picture_that_moves_and_shows_its_mood() -> None:
    look = make_look(np.random.default_rng(3), width=160, height=120)
    happy, later, sad = draw_face(2.0, 0.5, look), draw_face(2.0, 0.9, look), draw_face(-2.0, 0.5, look)
    assert happy.shape == (120, 160, 3)
    assert happy.dtype == np.uint8
    assert np.abs(happy.astype(int) - later).max() > 20
    assert np.abs(happy.astype(int) - sad).max() > 60
    np.testing.assert_array_equal(happy, draw_face(2.0, 0.5, look))


def test_a_positive_sound_is_louder_and_brighter() -> None:
    happy, sad = (make_sound(latent, 3.0, np.random.default_rng(5)) for latent in (2.0, -2.0))
    assert happy.dtype == np.float32
    assert happy.shape == (48_000,)
    assert np.abs(happy).max() <= 1.0
    assert np.sqrt((happy**2).mean()) > 1.5 * np.sqrt((sad**2).mean())
    assert _centroid_hz(happy) > 1.1 * _centroid_hz(sad)


def _centroid_hz(sound: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float((power * np.fft.rfftfreq(len(sound), 1 / 16_000)).sum() / power.sum())


def test_sentences_are_sentences_and_lean_to_their_mood() -> None:
    happy = " ".join(make_sentence(3.0, np.random.default_rng(seed)) for seed in range(60))
    sad = " ".join(make_sentence(-3.0, np.random.default_rng(seed)) for seed in range(60))
    assert "{" not in happy + sad
    assert make_sentence(0.0, np.random.default_rng(0))[0].isupper()
    for word in ("wonderful", "loved", "delightful"):
        assert happy.count(word) > sad.count(word)
    for word in ("awful", "hated", "tears"):
        assert sad.count(word) > happy.count(word)
