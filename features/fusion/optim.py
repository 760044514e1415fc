"""The optimiser of training, its learning rate by step, and the clipping of gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from features.fusion.configs import TrainingConfig


def build_optimiser(
    parameters_by_decay: Iterable[tuple[str, nn.Parameter, bool]], config: TrainingConfig
) -> torch.optim.Optimizer:
    """AdamW, whose weight decay is for some parameters alone, or Adam, which has none.

    Args:
        parameters_by_decay: Parameters by name, and whether weight decay is for them: matrices, not biases (`decayed`).
        config: `optimiser`, `learning_rate` and `weight_decay` count.

    Reference:
        Kingma & Ba (2015), arXiv:1412.6980 (Adam); Loshchilov & Hutter (2019), arXiv:1711.05101 (AdamW).
    """
    given = list(parameters_by_decay)
    decaying = [parameter for _, parameter, decays in given if decays]
    others = [parameter for _, parameter, decays in given if not decays]
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((decaying, config.weight_decay), (others, 0.0))
        if parameters
    ]
    if config.optimiser == "adam":
        parameters = [parameter for _, parameter, _ in given]
        return torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def rate_at(step: int, steps_per_epoch: int, config: TrainingConfig) -> float:
    """Share of the highest learning rate that a step takes, in [0, 1].

    It rises linearly over the warm-up, whose last step is the first at 1; then it stays there, or falls as half a
    cosine, which reaches 0 where the last epoch ends.

    Args:
        step: Steps taken before this one, over all epochs; at least 0.
        steps_per_epoch: At least 1.
        config: `epochs`, `schedule` and `warmup_epochs` count.

    Reference:
        Goyal et al. (2017), arXiv:1706.02677 (warm-up); Loshchilov & Hutter (2017), arXiv:1608.03983 (cosine).
    """
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if config.schedule == "constant":
        return 1.0
    falling_steps = max(config.epochs * steps_per_epoch - warmup_steps, 1)
    progress = min((step - warmup_steps) / falling_steps, 1.0)
    return (1 + math.cos(math.pi * progress)) / 2


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Take steps at this learning rate from now on."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def clip(parameters: Iterable[nn.Parameter], norm: float) -> Tensor:
    """Scale gradients down, all by one factor, where their norm together is larger; in place.

    Args:
        parameters: Whose gradients; those without one do not count.
        norm: Largest norm; 0: any, and nothing changes.

    Returns:
        Their norm before, a scalar.

    Reference:
        Pascanu et al. (2013), arXiv:1211.5063.
    """
    return torch.nn.utils.clip_grad_norm_(list(parameters), norm or math.inf)
