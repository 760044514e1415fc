"""Fusions by products of modalities: the outer product, and its low-rank form."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
        result: Tensor | None = None
        for name in self.names:
            one = with_one(masked(encoded[name].vector, present[name]))
            result = one if result is None else (result[:, :, None] * one[:, None]).flatten(1)
        if result is None:
            message = "there is no modality to fuse"
            raise AssertionError(message)
        return result


class LowRankFusion(Fusion):
    """The tensor fusion's linear layer, its weights a sum of `rank` products of a factor a modality: [batch, size].

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
            factors[name] = nn.Parameter(nn.init.xavier_normal_(torch.empty(rank, width + 1, size)))
        self.factors = nn.ParameterDict(factors)
        self.mix = nn.Parameter(torch.full((rank,), 1 / rank))
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """See `Fusion.forward`."""
        products = torch.ones((), dtype=self.bias.dtype, device=self.bias.device)
        for name in self.names:
            one = with_one(masked(encoded[name].vector, present[name]))
            products = products * torch.einsum("bw,rws->brs", one, self.factors[name])
        return torch.einsum("brs,r->bs", products, self.mix) + self.bias


def with_one(vector: Tensor) -> Tensor:
    """A 1 before the vector: [batch, size] to [batch, size + 1]."""
    return torch.cat([torch.ones_like(vector[:, :1]), vector], dim=1)
