"""Encoders: one modality's vector, standardised, to a vector of the encoder's size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from features.fusion.recipe import EncoderConfig

STD_FLOOR = 0.05
"""Smallest standard deviation used, as a share of the modality's median: a value that the training split hardly
moves must not become a signal elsewhere."""

_LARGEST = 8.0  # standardised values are cut here, so that an outlier cannot drown the rest


class Standardise(nn.Module):
    """Values minus the mean, over the standard deviation, both learned from the training split and kept as buffers."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def fit(self, values: Tensor) -> None:
        """Learn from the present rows of the training split, shape [num_rows, width]."""
        exact = values.double()
        std = exact.std(dim=0, correction=0)
        floor = (STD_FLOOR * std.median()).clamp(min=1e-6)
        self.mean.copy_(exact.mean(dim=0))
        self.std.copy_(torch.maximum(std, floor))

    def forward(self, values: Tensor) -> Tensor:
        """Standardise, shape [batch, width]."""
        return ((values - self.mean) / self.std).clamp(-_LARGEST, _LARGEST)


class LinearEncoder(nn.Module):
    """One linear layer: [batch, width] to [batch, size]."""

    def __init__(self, width: int, size: int, dropout: float) -> None:
        super().__init__()
        self.standardise = Standardise(width)
        self.layers = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, size))

    def forward(self, values: Tensor) -> Tensor:
        """Encode raw values, shape [batch, width]."""
        encoded: Tensor = self.layers(self.standardise(values))
        return encoded


class MlpEncoder(nn.Module):
    """A hidden layer with layer normalisation and dropout: [batch, width] to [batch, size].

    Reference:
        Ba et al. (2016), arXiv:1607.06450; Srivastava et al. (2014), JMLR 15.
    """

    def __init__(self, width: int, size: int, dropout: float) -> None:
        super().__init__()
        self.standardise = Standardise(width)
        self.layers = nn.Sequential(nn.Linear(width, size), nn.LayerNorm(size), nn.GELU(), nn.Dropout(dropout))

    def forward(self, values: Tensor) -> Tensor:
        """Encode raw values, shape [batch, width]."""
        encoded: Tensor = self.layers(self.standardise(values))
        return encoded


Encoder = LinearEncoder | MlpEncoder

_KINDS: dict[str, type[LinearEncoder] | type[MlpEncoder]] = {"linear": LinearEncoder, "mlp": MlpEncoder}


def build_encoder(config: EncoderConfig, width: int) -> Encoder:
    """The encoder that a recipe states, for vectors of `width` numbers."""
    return _KINDS[config.kind](width, config.size, config.dropout)
