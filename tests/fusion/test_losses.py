from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from features.errors import ModelError
from features.fusion.losses import TaskWeights, blend, labelled_weight, task_loss

NAN = float("nan")
KINDS = ("class", "binary", "multilabel", "regression")


def _batch(kind: str, count: int = 6, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, targets with some unknown, and weights."""
    generator = torch.Generator().manual_seed(seed)
    width = 3 if kind in ("class", "multilabel") else 1
    logits = torch.randn(count, width, generator=generator, dtype=torch.float64)
    weights = torch.rand(count, generator=generator, dtype=torch.float64) + 0.5
    if kind in ("class", "binary"):
        targets = torch.randint(3 if kind == "class" else 2, (count,), generator=generator)
        targets[1] = -1
    elif kind == "multilabel":
        targets = torch.randint(2, (count, 3), generator=generator).double()
        targets[1], targets[2, 0] = NAN, NAN
    else:
        targets = torch.randn(count, generator=generator, dtype=torch.float64)
        targets[1] = NAN
    return logits, targets, weights


def _unknown(kind: str) -> Tensor:
    """Targets of which nothing is known."""
    _, targets, _ = _batch(kind)
    return torch.full_like(targets, -1 if kind in ("class", "binary") else NAN)


def test_cross_entropy_of_even_logits_is_the_log_of_the_number_of_classes() -> None:
    loss = task_loss("class", torch.zeros(4, 5), torch.tensor([0, 1, -1, 4]), torch.ones(4))
    assert loss == pytest.approx(math.log(5))


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_binary_cross_entropy_of_zero_logits_is_the_log_of_two(kind: str) -> None:
    logits, targets, weights = _batch(kind)
    assert task_loss(kind, logits * 0, targets, weights) == pytest.approx(math.log(2))


def test_binary_of_a_known_logit() -> None:
    logit = math.log(3)  # a probability of 3/4
    loss = task_loss("binary", torch.tensor([[logit], [logit]]), torch.tensor([1, 0]), torch.tensor([1.0, 3.0]))
    assert loss == pytest.approx((-math.log(3 / 4) - 3 * math.log(1 / 4)) / 4)


def test_squared_error_is_weighted() -> None:
    logits, targets = torch.tensor([[1.0], [2.0], [7.0]]), torch.tensor([0.0, 4.0, NAN])
    assert task_loss("regression", logits, targets, torch.tensor([3.0, 1.0, 9.0])) == (3 * 1 + 1 * 4) / 4


def test_a_row_of_several_labels_counts_once_however_many_are_known() -> None:
    logits = torch.tensor([[5.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    targets = torch.tensor([[1.0, NAN, NAN], [1.0, 0.0, 1.0]])
    expected = (math.log1p(math.exp(-5)) + math.log(2)) / 2
    assert task_loss("multilabel", logits, targets, torch.ones(2)) == pytest.approx(expected)


def test_cross_entropy_equals_that_of_scikit_learn() -> None:
    from sklearn.metrics import log_loss

    logits, targets, weights = _batch("class", 40)
    known = targets >= 0
    probabilities = torch.softmax(logits, dim=1)[known].numpy()
    reference = log_loss(targets[known].numpy(), probabilities, sample_weight=weights[known].numpy(), labels=[0, 1, 2])
    assert task_loss("class", logits, targets, weights) == pytest.approx(reference)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_rows_do_not_matter(kind: str) -> None:
    logits, targets, weights = _batch(kind)
    rows = [0, 2, 3, 4, 5]
    assert task_loss(kind, logits, targets, weights, 0.1) == pytest.approx(
        task_loss(kind, logits[rows], targets[rows], weights[rows], 0.1)
    )
    assert labelled_weight(kind, targets, weights) == pytest.approx(float(weights[rows].sum()))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind: str) -> None:
    logits, targets, weights = _batch(kind)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda given: task_loss(kind, given, targets, weights, 0.1), (logits,))
    task_loss(kind, logits, targets, weights).backward()
    assert torch.equal(logits.grad[1], torch.zeros_like(logits[1]))  # of the row that is not labelled


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_a_label_costs_zero_and_teaches_nothing(kind: str) -> None:
    logits, _, weights = _batch(kind)
    logits.requires_grad_()
    loss = task_loss(kind, logits, _unknown(kind), weights, 0.1)
    assert loss.item() == 0
    loss.backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))
    assert labelled_weight(kind, _unknown(kind), weights) == 0


def test_an_empty_batch_costs_zero() -> None:
    loss = task_loss("class", torch.zeros(0, 3, requires_grad=True), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    assert loss.item() == 0
    loss.backward()


def test_label_smoothing_goes_evenly_to_all_classes() -> None:
    logits = torch.tensor([[2.0, 0.0]])
    of_class = task_loss("class", logits, torch.tensor([0]), torch.ones(1), 0.2)
    of_binary = task_loss("binary", torch.tensor([[-2.0]]), torch.tensor([0]), torch.ones(1), 0.2)
    right, wrong = torch.log_softmax(logits, dim=1)[0]
    assert of_class == pytest.approx(float(-0.9 * right - 0.1 * wrong))
    assert of_binary == pytest.approx(float(of_class))


def test_there_is_no_such_kind() -> None:
    with pytest.raises(ModelError, match="no loss for tasks of kind 'ordinal'; there are: class"):
        task_loss("ordinal", torch.zeros(1, 1), torch.zeros(1), torch.ones(1))


@pytest.mark.parametrize("kind", ["class", "binary", "multilabel"])
def test_mixed_targets_blend_the_losses(kind: str) -> None:
    """Rows that count for both targets: the mean of both losses by their weights."""
    logits, targets, weights = _batch(kind)
    partner = torch.tensor([3, 4, 5, 0, 1, 2])
    share = torch.tensor([0.9, 0.8, 0.7, 0.6, 1.0, 0.5])
    halves = [(targets, weights * share), (targets[partner], weights[partner] * (1 - share))]
    one, other = ((task_loss(kind, logits, t, w), labelled_weight(kind, t, w)) for t, w in halves)
    loss, weight = blend(one, other)
    stacked = [torch.cat([half[place] for half in halves]) for place in (0, 1)]
    assert loss == pytest.approx(task_loss(kind, torch.cat([logits, logits]), *stacked))
    assert weight == pytest.approx(labelled_weight(kind, *stacked))


def test_two_sets_without_a_label_blend_to_zero() -> None:
    loss, weight = blend((torch.zeros(()), 0.0), (torch.zeros(()), 0.0))
    assert (loss.item(), weight) == (0, 0)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("kind", ["class", "binary", "multilabel"])
def test_one_task_is_its_plain_loss(kind: str, learned: bool) -> None:
    weights = TaskWeights({"mood": kind}, {"mood": 1.0}, learned=learned)
    loss = torch.tensor(0.7)
    assert weights.combine({"mood": loss}, {"mood": 4}).item() == pytest.approx(0.7)


def test_fixed_weights_have_nothing_to_learn() -> None:
    weights = TaskWeights({"mood": "class", "age": "regression"}, {"mood": 2.0, "age": 0.5}, learned=False)
    assert list(weights.parameters()) == []
    found = weights.combine({"mood": torch.tensor(3.0), "age": torch.tensor(4.0)}, {"mood": 1, "age": 1})
    assert found.item() == 2 * 3 + 0.5 * 4


def test_uncertainty_is_that_of_kendall() -> None:
    weights = TaskWeights({"mood": "class", "age": "regression"}, {"mood": 1.0, "age": 2.0}, learned=True)
    with torch.no_grad():
        weights.log_variances.copy_(torch.tensor([0.4, -0.6]))
    found = weights.combine({"mood": torch.tensor(3.0), "age": torch.tensor(4.0)}, {"mood": 1, "age": 1})
    expected = math.exp(-0.4) * 3 + 0.2 + 2 * (math.exp(0.6) * 4 / 2 - 0.3)
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize(("kind", "best"), [("regression", 0.25), ("class", 0.5)])
def test_uncertainty_learns_the_size_of_the_loss(kind: str, best: float) -> None:
    """With a loss of 0.25 that nothing else moves, a regression's variance is 0.25, another's twice that."""
    weights = TaskWeights({"mood": kind}, {"mood": 1.0}, learned=True)
    optimiser = torch.optim.SGD(weights.parameters(), lr=0.5)
    for _ in range(200):
        optimiser.zero_grad()
        weights.combine({"mood": torch.tensor(0.25)}, {"mood": 1}).backward()
        optimiser.step()
    assert math.exp(weights.log_variances.item()) == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("learned", [False, True])
def test_a_task_without_labels_adds_zero_and_moves_nothing(learned: bool) -> None:
    weights = TaskWeights({"mood": "class", "age": "regression"}, {"mood": 1.0, "age": 1.0}, learned=learned)
    if weights.log_variances is not None:
        nn.init.constant_(weights.log_variances, 0.5)
    logits = torch.zeros(2, 2, requires_grad=True)
    mood = task_loss("class", logits, torch.tensor([0, 1]), torch.ones(2))
    age = task_loss("regression", logits[:, :1], torch.full((2,), NAN), torch.ones(2))
    both = weights.combine({"mood": mood, "age": age}, {"mood": 2, "age": 0})
    assert both.item() == weights.combine({"mood": mood}, {"mood": 2}).item()
    none = weights.combine({"mood": mood * 0, "age": age}, {"mood": 0, "age": 0})
    assert none.item() == 0
    both.backward()
    if weights.log_variances is not None:
        assert weights.log_variances.grad[1] == 0


def test_parts_of_a_batch_add_up_to_it() -> None:
    """As processes share it: each with its share of the mean loss, all gradients added up."""
    logits, targets, weights = _batch("class")
    whole, parts = (TaskWeights({"mood": "class"}, {"mood": 2.0}, learned=True) for _ in range(2))
    whole.combine({"mood": task_loss("class", logits, targets, weights)}, {"mood": 5}).backward()
    total = labelled_weight("class", targets, weights)
    for rows in (slice(4), slice(4, 6)):
        own = task_loss("class", logits[rows], targets[rows], weights[rows])
        own = own * (labelled_weight("class", targets[rows], weights[rows]) / total)
        parts.combine({"mood": own}, {"mood": 5}, share=0.5).backward()
    assert np.allclose(whole.log_variances.grad, parts.log_variances.grad)
