"""Heads: from the fused vector to what a task asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class ClassHead(nn.Module):
    """One linear layer: [batch, size] to logits [batch, num_classes]."""

    def __init__(self, size: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, num_classes)

    def forward(self, fused: Tensor) -> Tensor:
        """Logits, shape [batch, num_classes]."""
        logits: Tensor = self.linear(fused)
        return logits
