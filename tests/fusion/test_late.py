"""Late fusion: the votes of known modalities counted by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from features.fusion.configs import EncoderConfig, FusionConfig
from features.fusion.encoders import build_encoder
from features.fusion.fusions import LateVotes
from features.fusion.heads import build_head

NAMES = ("video", "audio", "text")
KINDS = ("class", "binary", "multilabel", "regression")
FIXED = {"video": 0.5, "audio": 0.3, "text": 0.2}
PLAIN = dict.fromkeys(NAMES, 1.0)


def _logits(kind: str, count: int = 8) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    width = 3 if kind in ("class", "multilabel") else 1
    return {name: 2 * torch.randn(count, width, generator=generator, dtype=torch.float64) for name in NAMES}


def _all_subsets() -> dict[str, Tensor]:
    return dict(zip(NAMES, torch.tensor(list(product([False, True], repeat=3))).T, strict=True))


def _probabilities(kind: str, logits: np.ndarray) -> np.ndarray:
    if kind == "class":
        return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return logits if kind == "regression" else 1 / (1 + np.exp(-logits))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", [{}, FIXED], ids=["mean", "fixed"])
def test_votes_are_the_weighted_mean_of_what_present_modalities_say(kind: str, weights: dict[str, float]) -> None:
    votes = LateVotes(FusionConfig("late", weights=weights), NAMES, kind).double()
    logits, present = _logits(kind), _all_subsets()
    said = _probabilities(kind, votes(logits, present).numpy())
    for row in range(1, 8):
        there = [name for name in NAMES if present[name][row]]
        parts = [_probabilities(kind, logits[name][row].numpy()) for name in there]
        expected = np.average(parts, axis=0, weights=[(weights or PLAIN)[name] for name in there])
        np.testing.assert_allclose(said[row], expected, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("learned", [False, True])
def test_without_any_modality_nothing_is_preferred(kind: str, learned: bool) -> None:
    votes = LateVotes(FusionConfig("late", learned=learned), NAMES, kind).double()
    found = votes(_logits(kind), {name: torch.zeros(8, dtype=torch.bool) for name in NAMES})
    expected = torch.full_like(found, -np.log(3) if kind == "class" else 0)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vote_of_weight_0_counts_nothing_even_alone(kind: str) -> None:
    config = FusionConfig("late", weights={"video": 1.0, "audio": 1.0, "text": 0.0})
    votes = LateVotes(config, NAMES, kind).double()
    logits, present = _logits(kind), _all_subsets()
    found = votes(logits, present)
    other = votes(logits | {"text": logits["text"] + 5}, present)
    assert torch.equal(found, other)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("stand_in", [float("nan"), 1e30, -float("inf")])
@pytest.mark.parametrize("kind", KINDS)
def test_what_an_absent_modality_would_say_is_irrelevant(kind: str, stand_in: float) -> None:
    votes = LateVotes(FusionConfig("late", learned=True), NAMES, kind).double()
    present = _all_subsets()
    results = []
    for filler in (0.0, stand_in):
        logits = {
            name: torch.where(present[name][:, None], said, filler).requires_grad_()
            for name, said in _logits(kind).items()
        }
        found = votes(logits, present)
        gradients = torch.autograd.grad(found.square().sum(), [*logits.values(), *votes.parameters()])
        assert all(not gradients[place][~present[name]].any() for place, name in enumerate(NAMES))
        results.append([found, *gradients])
    assert all(torch.isfinite(part).all() and torch.equal(part, other) for part, other in zip(*results, strict=True))


@pytest.mark.parametrize("kind", ["class", "binary", "multilabel"])
def test_a_vote_that_is_sure_keeps_its_gradient(kind: str) -> None:
    votes = LateVotes(FusionConfig("late"), NAMES, kind)
    logits = {
        name: torch.tensor([[-200.0, 0.0, 0.0][: said.shape[1]]]).requires_grad_()
        for name, said in _logits(kind).items()
    }
    found = votes(logits, {name: torch.tensor([True]) for name in NAMES})
    assert found[0, 0].item() == pytest.approx(-200 - (np.log(2) if kind == "class" else 0), rel=1e-6)
    gradients = torch.autograd.grad(found[0, 0], list(logits.values()))
    assert all(gradient[0, 0].item() == pytest.approx(1 / 3, rel=1e-5) for gradient in gradients)


def test_votes_are_learned_only_where_asked() -> None:
    assert not list(LateVotes(FusionConfig("late"), NAMES, "class").parameters())
    assert not list(LateVotes(FusionConfig("late", weights=FIXED, learned=True), NAMES, "class").parameters())
    votes = LateVotes(FusionConfig("late", learned=True), NAMES, "class")
    assert [parameter.shape for parameter in votes.parameters()] == [(3,)]


def test_learned_votes_find_the_modality_that_knows() -> None:
    votes = LateVotes(FusionConfig("late", learned=True), NAMES, "class")
    targets = torch.randint(3, (64,), generator=torch.Generator().manual_seed(0))
    logits = {name: said.float() for name, said in _logits("class", 64).items()}
    logits["audio"] = 4 * nn.functional.one_hot(targets, 3).float()
    present = {name: torch.ones(64, dtype=torch.bool) for name in NAMES}
    optimiser = torch.optim.Adam(votes.parameters(), 0.1)
    for _ in range(100):
        optimiser.zero_grad()
        nn.functional.nll_loss(votes(logits, present), targets).backward()
        optimiser.step()
    assert votes.weights(present)[0, 1].item() > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_rows_do_not_see_each_other(kind: str) -> None:
    votes = LateVotes(FusionConfig("late", weights=FIXED), NAMES, kind).double()
    logits, present = _logits(kind, 64), {name: mask.repeat(8) for name, mask in _all_subsets().items()}
    whole = votes(logits, present)
    for rows in (torch.arange(64).flip(0), *torch.arange(64).split(7)):
        part = votes({n: said[rows] for n, said in logits.items()}, {n: mask[rows] for n, mask in present.items()})
        torch.testing.assert_close(part, whole[rows], rtol=0, atol=1e-12)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_learned_by_heart(kind: str, learned: bool) -> None:
    torch.manual_seed(0)
    encoders = nn.ModuleDict({name: build_encoder(EncoderConfig("mlp", 16, 0), (5,)) for name in NAMES})
    heads = nn.ModuleDict({name: build_head(kind, 16, 3) for name in NAMES})
    votes = LateVotes(FusionConfig("late", learned=learned), NAMES, kind)
    values = {name: torch.randn(7, 5) for name in NAMES}
    present = {name: mask[1:] for name, mask in _all_subsets().items()}
    wanted = {
        "class": torch.tensor([0, 1, 2, 0, 1, 2, 0]),
        "binary": torch.tensor([[0.0], [1], [1], [0], [1], [0], [0]]),
        "multilabel": torch.randint(2, (7, 3)).float(),
        "regression": torch.randn(7, 1),
    }[kind]
    measure = {
        "class": nn.functional.cross_entropy,
        "binary": nn.functional.binary_cross_entropy_with_logits,
        "multilabel": nn.functional.binary_cross_entropy_with_logits,
        "regression": nn.functional.mse_loss,
    }[kind]
    optimiser = torch.optim.Adam([*encoders.parameters(), *heads.parameters(), *votes.parameters()], 0.03)
    loss = torch.tensor(torch.inf)
    for _ in range(500):
        found = votes({name: heads[name](encoders[name](values[name]).vector) for name in NAMES}, present)
        loss = measure(found, wanted)
        if loss < 0.005:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.005
