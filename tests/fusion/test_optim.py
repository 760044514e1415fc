from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from features.fusion.configs import TrainingConfig
from features.fusion.optim import build_optimiser, clip, rate_at, set_rate


def _given(layer: nn.Module) -> list[tuple[str, nn.Parameter, bool]]:
    return [(name, parameter, parameter.ndim > 1) for name, parameter in layer.named_parameters()]


def _stepped(config: TrainingConfig) -> nn.Linear:
    """A layer after a step with gradients of zero: only decay moves it."""
    layer = nn.Linear(3, 2)
    nn.init.ones_(layer.weight)
    nn.init.ones_(layer.bias)
    optimiser = build_optimiser(_given(layer), config)
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    return layer


def test_only_matrices_decay() -> None:
    layer = _stepped(TrainingConfig(learning_rate=0.1, weight_decay=0.5))
    assert torch.allclose(layer.weight, torch.full((2, 3), 1 - 0.1 * 0.5))
    assert torch.equal(layer.bias, torch.ones(2))


def test_adam_does_not_decay() -> None:
    layer = _stepped(TrainingConfig(optimiser="adam", learning_rate=0.1, weight_decay=0.5))
    assert torch.equal(layer.weight, torch.ones(2, 3))


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
def test_first_step_moves_each_weight_by_the_learning_rate(optimiser: str) -> None:
    """Kingma & Ba (2015), section 2.1: the first step is the rate times the gradient's sign."""
    layer = nn.Linear(2, 1, bias=False)
    before = layer.weight.detach().clone()
    built = build_optimiser(_given(layer), TrainingConfig(optimiser=optimiser, learning_rate=0.01, weight_decay=0))
    set_rate(built, 0.005)
    layer.weight.grad = torch.tensor([[3.0, -0.2]])
    built.step()
    assert torch.allclose(layer.weight - before, torch.tensor([[-0.005, 0.005]]), atol=1e-6)


def test_parameters_of_one_kind_alone() -> None:
    bias = nn.Parameter(torch.zeros(1))
    assert len(build_optimiser([("bias", bias, False)], TrainingConfig()).param_groups) == 1


def test_constant_rate() -> None:
    config = TrainingConfig(epochs=3)
    assert {rate_at(step, 5, config) for step in range(15)} == {1.0}


def test_warm_up_rises_linearly_to_one() -> None:
    config = TrainingConfig(epochs=3, warmup_epochs=0.8)
    assert [rate_at(step, 5, config) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cosine_falls_to_zero_where_the_last_epoch_ends() -> None:
    config = TrainingConfig(epochs=10, schedule="cosine")
    assert rate_at(0, 4, config) == 1
    assert rate_at(20, 4, config) == pytest.approx(0.5)
    assert rate_at(10, 4, config) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert rate_at(40, 4, config) == pytest.approx(0)
    assert rate_at(50, 4, config) == pytest.approx(0)


def test_cosine_begins_after_warm_up() -> None:
    config = TrainingConfig(epochs=3, schedule="cosine", warmup_epochs=1)
    rates = [rate_at(step, 10, config) for step in range(31)]
    assert max(rates) == rates[9] == rates[10] == 1
    assert rates[20] == pytest.approx(0.5)
    assert rates[30] == pytest.approx(0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_cosine_equals_that_of_torch() -> None:
    config = TrainingConfig(epochs=2, schedule="cosine", learning_rate=0.3)
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=14)
    for step in range(14):
        assert 0.3 * rate_at(step, 7, config) == pytest.approx(reference.get_last_lr()[0])
        optimiser.step()
        reference.step()


def test_warm_up_longer_than_training() -> None:
    config = TrainingConfig(epochs=1, schedule="cosine", warmup_epochs=4)
    assert [rate_at(step, 2, config) for step in range(2)] == [1 / 8, 2 / 8]


def test_clip_keeps_the_direction() -> None:
    one, other = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    unused = nn.Parameter(torch.zeros(1))
    one.grad, other.grad = torch.tensor([3.0]), torch.tensor([4.0])
    assert clip([one, other, unused], 2.5) == pytest.approx(5)
    assert torch.allclose(torch.cat([one.grad, other.grad]), torch.tensor([1.5, 2.0]), atol=1e-5)
    assert unused.grad is None


@pytest.mark.parametrize("norm", [0, 5.5])
def test_clip_leaves_smaller_gradients(norm: float) -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    assert clip([parameter], norm) == pytest.approx(5)
    assert parameter.grad.tolist() == [3, 4]
