"""The contrastive loss against what is computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from features.fusion.contrastive import contrastive_loss
from features.fusion.encoded import Encoded


def _present(*masks: list[int]) -> dict[str, Tensor]:
    return {name: torch.tensor(mask).bool() for name, mask in zip("abc", masks, strict=False)}


def _by_hand(left: np.ndarray, right: np.ndarray, temperature: float) -> float:
    """Symmetric InfoNCE: the mean cross-entropy of rows and of columns against the diagonal."""
    left, right = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (left, right))
    scores = left @ right.T / temperature
    log_z = [np.log(np.exp(scores).sum(axis=axis)) for axis in (1, 0)]
    return float(np.mean([np.mean(part - np.diag(scores)) for part in log_z]))


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("count", [2, 4])
def test_aligned_one_hot_vectors_cost_what_the_temperature_leaves(count: int, temperature: float) -> None:
    encoded = {name: Encoded(5 * torch.eye(count, dtype=torch.float64)) for name in "ab"}
    found = contrastive_loss(encoded, _present([1] * count, [1] * count), temperature)
    # Cosines are 1 on the diagonal and 0 elsewhere.
    assert found.item() == pytest.approx(np.log(1 + (count - 1) * np.exp(-1 / temperature)), rel=1e-9)


def test_vectors_that_are_all_the_same_cost_the_logarithm_of_their_number() -> None:
    encoded = {name: Encoded(torch.ones(7, 3, dtype=torch.float64)) for name in "ab"}
    assert contrastive_loss(encoded, _present([1] * 7, [1] * 7), 0.1).item() == pytest.approx(np.log(7))


def test_it_is_the_mean_over_pairs_on_the_rows_where_both_are_present() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = {name: torch.randn(6, 4, generator=generator, dtype=torch.float64) for name in "abc"}
    present = _present([1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 1, 1], [0, 0, 0, 1, 1, 1])
    found = contrastive_loss({name: Encoded(vector) for name, vector in vectors.items()}, present, 0.5)
    a, b, c = (vector.numpy() for vector in vectors.values())
    expected = (_by_hand(a[:3], b[:3], 0.5) + _by_hand(b[4:], c[4:], 0.5)) / 2  # a and c share one row: nothing to tell
    assert found.item() == pytest.approx(expected, rel=1e-12)
    order = torch.tensor([3, 5, 0, 2, 1, 4])
    turned = {name: Encoded(vector[order]) for name, vector in vectors.items()}
    again = contrastive_loss(turned, {name: mask[order] for name, mask in present.items()}, 0.5)
    assert again.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("stand_in", [float("nan"), 1e38, float("inf")])
def test_what_stands_in_an_absent_modalitys_place_is_irrelevant(stand_in: float) -> None:
    present = _present([1, 1, 1, 0], [1, 1, 1, 1])
    results = []
    for filler in (0.0, stand_in):
        vectors = {name: torch.randn(4, 3, generator=torch.Generator().manual_seed(1)) for name in "ab"}
        vectors = {n: torch.where(present[n][:, None], v, filler).requires_grad_() for n, v in vectors.items()}
        loss = contrastive_loss({name: Encoded(vector) for name, vector in vectors.items()}, present, 0.1)
        results.append([loss, *torch.autograd.grad(loss, list(vectors.values()))])
    assert all(torch.isfinite(part).all() and torch.equal(part, other) for part, other in zip(*results, strict=True))


@pytest.mark.parametrize("masks", [([1, 0], [0, 1]), ([1, 0], [1, 1]), ([0, 0], [0, 0]), ([], [])])
@pytest.mark.parametrize("filler", [0.0, float("nan"), 3e38])
def test_too_few_rows_cost_nothing_with_a_graph(masks: tuple[list[int], list[int]], filler: float) -> None:
    vectors = {name: torch.full((len(masks[0]), 3), filler).requires_grad_() for name in "ab"}
    loss = contrastive_loss({name: Encoded(vector) for name, vector in vectors.items()}, _present(*masks), 0.1)
    assert loss.item() == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(loss, list(vectors.values())))


def test_one_modality_has_nothing_to_be_aligned_with() -> None:
    vector = torch.randn(4, 3).requires_grad_()
    assert contrastive_loss({"a": Encoded(vector)}, _present([1] * 4), 0.1).item() == 0


def test_minimising_it_aligns_the_modalities() -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(6, 8, generator=generator).requires_grad_() for _ in range(2))
    optimiser = torch.optim.Adam([left, right], 0.1)
    for _ in range(100):
        loss = contrastive_loss({"a": Encoded(left), "b": Encoded(right)}, _present([1] * 6, [1] * 6), 0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    cosines = torch.nn.functional.cosine_similarity(left[:, None], right[None], dim=2)
    assert torch.equal(cosines.argmax(dim=1), torch.arange(6))
    assert loss.item() < 0.01
