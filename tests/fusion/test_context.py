"""Contexts: a media's segments in time, whatever else is in the batch and in whatever order it comes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from features.fusion.configs import ContextConfig
from features.fusion.context import Context, build_context

KINDS = ("none", "bilstm", "transformer")
SEEING = KINDS[1:]
SIZE = 5


def _context(kind: str, layers: int = 1, dropout: float = 0.3) -> Context:
    torch.manual_seed(0)
    return build_context(ContextConfig(kind, 6, layers, 2, dropout), SIZE).double().eval()


def _batch() -> tuple[Tensor, Tensor, Tensor]:
    """Media of 1, 4 and 7 segments, mixed, with start times that are far from 0, 1, 2."""
    generator = torch.Generator().manual_seed(0)
    media = torch.tensor([30] * 1 + [10] * 4 + [20] * 7)
    order = torch.randperm(12, generator=generator) * 1_000_000 - 3
    shuffled = torch.randperm(12, generator=generator)
    fused = torch.randn(12, SIZE, generator=generator, dtype=torch.float64)
    return fused, media[shuffled], order[shuffled]


def _of_media(media: Tensor, order: Tensor, which: int) -> Tensor:
    """Places of a media's segments, in time."""
    rows = torch.nonzero(media == which)[:, 0]
    return rows[order[rows].argsort()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_segments_own_vector_comes_first(kind: str) -> None:
    context, (fused, media, order) = _context(kind), _batch()
    found = context(fused, media, order)
    assert context.size == (SIZE if kind == "none" else SIZE + 6)
    assert found.shape == (12, context.size)
    assert torch.equal(found[:, :SIZE], fused)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bilstm_is_torchs_over_the_segments_in_time(layers: int) -> None:
    context, (fused, media, order) = _context("bilstm", layers), _batch()
    found = context(fused, media, order)
    for which in (10, 20, 30):
        rows = _of_media(media, order, which)
        expected, _ = context.network(fused[rows][None])
        torch.testing.assert_close(found[rows, SIZE:], expected[0], rtol=0, atol=1e-12)


def test_a_transformer_is_its_network_over_the_segments_in_time() -> None:
    context, (fused, media, order) = _context("transformer", 2), _batch()
    found = context(fused, media, order)
    for which in (10, 20, 30):
        rows = _of_media(media, order, which)
        steps = context.project(fused[rows][None])
        expected = context.network(steps, torch.ones(1, len(rows), dtype=torch.bool))
        torch.testing.assert_close(found[rows, SIZE:], expected[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_neither_the_order_of_rows_nor_other_media_matter(kind: str) -> None:
    context, (fused, media, order) = _context(kind), _batch()
    with torch.inference_mode():
        whole = context(fused, media, order)
        for seed in range(3):
            rows = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
            torch.testing.assert_close(context(fused[rows], media[rows], order[rows]), whole[rows], rtol=0, atol=1e-12)
        for which in (10, 20, 30):
            rows = torch.nonzero(media == which)[:, 0]
            torch.testing.assert_close(context(fused[rows], media[rows], order[rows]), whole[rows], rtol=0, atol=1e-12)
        many = context(fused.repeat(8, 1), torch.cat([media + 100 * copy for copy in range(8)]), order.repeat(8))
        torch.testing.assert_close(many, whole.repeat(8, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", SEEING)
def test_segments_see_their_own_media_alone(kind: str) -> None:
    context, (fused, media, order) = _context(kind), _batch()
    fused.requires_grad_()
    for which in (10, 20, 30):
        rows = media == which
        (gradient,) = torch.autograd.grad(context(fused, media, order)[rows, SIZE:].square().sum(), [fused])
        assert not gradient[~rows].any()
        assert gradient[rows].any(dim=1).all()


@pytest.mark.parametrize("kind", SEEING)
def test_only_the_sequence_of_start_times_counts_and_it_does(kind: str) -> None:
    context, (fused, media, order) = _context(kind), _batch()
    found = context(fused, media, order)
    assert torch.equal(context(fused, media, 3 * order + 7), found)
    turned = context(fused, media, -order)[:, SIZE:]
    several = media != 30
    assert not torch.isclose(turned[several], found[several, SIZE:]).all(dim=1).any()
    assert torch.equal(turned[~several], found[~several, SIZE:])


@pytest.mark.parametrize("kind", KINDS)
def test_no_segment_is_no_trouble(kind: str) -> None:
    context, none = _context(kind), torch.zeros(0, dtype=torch.int64)
    assert context(torch.zeros(0, SIZE, dtype=torch.float64), none, none).shape == (0, context.size)


@pytest.mark.parametrize("kind", SEEING)
def test_the_same_seed_gives_the_same_weights(kind: str) -> None:
    one, other = _context(kind).state_dict(), _context(kind).state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("kind", SEEING)
def test_it_learns_what_only_the_neighbours_know(kind: str) -> None:
    torch.manual_seed(0)
    context = build_context(ContextConfig(kind, 16, 1, 2, 0.0), 2)
    head = torch.nn.Linear(context.size, 1)
    fused = torch.randn(24, 2)
    media = torch.arange(24) // 6
    order = torch.arange(24)
    target = (fused.roll(1, 0)[:, :1] > 0).float()  # what the segment before said
    first = (order % 6 == 0)[:, None]
    optimiser = torch.optim.Adam([*context.parameters(), *head.parameters()], 0.02)
    loss = torch.tensor(torch.inf)
    for _ in range(400):
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            head(context(fused, media, order)), target, reduction="none"
        )
        loss = each.masked_fill(first, 0).mean()
        if loss < 0.01:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.01
