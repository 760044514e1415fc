from __future__ import annotations

import numpy as np
import torch

from features.fusion.encoders.attention import SelfAttention, sinusoidal_positions


def test_the_blocks_of_a_transformer_start_from_weights_of_their_own() -> None:
    first, second = SelfAttention(8, 2, 2, 0.0).blocks
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


def test_positions_are_sines_and_cosines_of_the_place() -> None:
    found = sinusoidal_positions(50, 6)
    places = np.arange(50)
    for pair in range(3):
        angle = places / 10_000 ** (2 * pair / 6)
        np.testing.assert_allclose(found[:, 2 * pair], np.sin(angle), atol=1e-5)
        np.testing.assert_allclose(found[:, 2 * pair + 1], np.cos(angle), atol=1e-5)
    assert sinusoidal_positions(4, 5).shape == (4, 5)
