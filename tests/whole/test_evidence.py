"""Fusion is shown to help where each modality tells a part, and is not where two of three are noise."""

from __future__ import annotations

import pytest

from features.synthetic.experiment import compare_samples

pytestmark = pytest.mark.slow

NUM_SAMPLES = 600


def test_complementary_modalities_show_a_gain() -> None:
    comparison = compare_samples(NUM_SAMPLES)
    assert comparison.first.gain.low > 0
    assert comparison.gain_shown
    assert comparison.first.fused.test.accuracy > max(result.test.accuracy for result in comparison.first.single)


def test_noise_shows_none() -> None:
    comparison = compare_samples(NUM_SAMPLES, noise=("video", "text"))
    assert not comparison.gain_shown
    assert comparison.verdict.startswith("no gain shown")
