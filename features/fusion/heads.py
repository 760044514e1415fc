"""Heads: from the fused vector to what a task asks for."""

from __future__ import annotations

from torch import nn


def num_outputs(kind: str, num_classes: int) -> int:
    """Numbers that a head gives: one a class or label; one for a binary task or a regression."""
    return num_classes if kind in ("class", "multilabel") else 1


def build_head(kind: str, size: int, num_classes: int) -> nn.Linear:
    """One linear layer: [batch, size] to logits [batch, num_outputs].

    Args:
        kind: Of the task.
        size: Numbers in the fused vector.
        num_classes: Classes or labels of the task.
    """
    return nn.Linear(size, num_outputs(kind, num_classes))
