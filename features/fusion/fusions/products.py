"""Fusions by products of modalities: the outer product, and its low-rank form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from features.fusion.fusions.base import Fusion, masked

if TYPE_CHECKING:
    from features.fusion.encoded import Encoded


class TensorFusion(Fusion):
    """The outer product of [1; z] of each modality, flattened: products of every subset of them.

    The 1 keeps each modality, and each pair, alone; an absent modality is [1; 0]: what it has no part in stays.

    Args:
        sizes: Size of each encoded modality; the result has the product of each plus one.

    Reference:
        Zadeh et al. (2017), arXiv:1707.07250.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__(sizes, math.prod(size + 1 for size in sizes.values()))

    def forward(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """See `Fusion.forward`."""
        parts = [_with_one(masked(encoded[name].vector, present[name])) for name in self.names]
        return reduce(lambda left, right: (left[:, :, None] * right[:, None]).flatten(1), parts)


class LowRankFusion(Fusion):
    """The tensor fusion's linear layer, its weights a sum of `rank` products of a factor a modality: [batch, size].

    What the 1 of each modality is multiplied by starts at 1, so that the product starts near a sum of the modalities,
    an absent one changes nothing in it, and its gradients do not shrink with their number.

    Args:
        sizes: Size of each encoded modality.
        size: Numbers of the result.
        rank: Products that are summed.

    Reference:
        Liu et al. (2018), arXiv:1806.00064.
    """

    def __init__(self, sizes: Mapping[str, int], size: int, rank: int) -> None:
        super().__init__(sizes, size)
        factors = {}
        for name, width in sizes.items():
            own = nn.init.normal_(torch.empty(rank, width, size), std=(width * len(sizes)) ** -0.5)
            factors[name] = nn.Parameter(torch.cat([torch.ones(rank, 1, size), own], dim=1))
        self.factors = nn.ParameterDict(factors)  # [rank, 1 + width, size]
        self.mix = nn.Parameter(torch.full((rank,), 1 / rank))
        self.bias = nn.Parameter(torch.full((size,), -1.0))  # takes off the 1 that the products start from

    def forward(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """See `Fusion.forward`."""
        parts = [
            torch.einsum("bw,rws->brs", _with_one(masked(encoded[name].vector, present[name])), self.factors[name])
            for name in self.names
        ]
        return torch.einsum("brs,r->bs", reduce(torch.mul, parts), self.mix) + self.bias


def _with_one(vector: Tensor) -> Tensor:
    """A 1 before the vector: [batch, size] to [batch, 1 + size]."""
    return torch.cat([torch.ones_like(vector[:, :1]), vector], dim=1)
