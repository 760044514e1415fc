from __future__ import annotations

import numpy as np
import torch

from features.fusion.encoders import Standardise


def test_standardise_is_numpys_mean_and_deviation_cut_and_floored() -> None:
    rows = np.random.default_rng(0).normal(3, [1, 2, 4, 1e-9], (200, 4))
    standardise = Standardise(4).double()
    standardise.fit(torch.from_numpy(rows))
    std = rows.std(axis=0)
    std[3] = 0.05 * np.median(std)
    expected = (rows - rows.mean(axis=0)) / std
    np.testing.assert_allclose(standardise(torch.from_numpy(rows)), expected, atol=1e-12)
    far = standardise(torch.full((1, 4), 1e9, dtype=torch.float64))
    assert far.tolist() == [[8.0] * 4]
