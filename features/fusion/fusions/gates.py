"""Fusions that decide example by example how much each modality counts: attention, gated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from features.fusion.fusions.base import Fusion, masked, masks, one_size, share_out

if TYPE_CHECKING:
    from features.fusion.encoded import Encoded


class AttentionFusion(Fusion):
    """A learned query looks at the present modalities, each with an embedding of its own: [batch, size].

    Args:
        sizes: Size of each encoded modality, all the same.

    Reference:
        Bahdanau et al. (2015), arXiv:1409.0473 (additive attention); Hori et al. (2017), arXiv:1701.03126 (over
        modalities).
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        size = one_size("attention", sizes)
        super().__init__(sizes, size)
        self.kinds = nn.Parameter(torch.zeros(len(sizes), size))
        self.hidden = nn.Linear(size, size)
        self.query = nn.Linear(size, 1, bias=False)

    def weights(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """Weight of each modality, [batch, num_modalities]; rows sum to 1 over what is present, or are zeros."""
        hidden = torch.tanh(self.hidden(self.vectors(encoded, present) + self.kinds))
        return share_out(self.query(hidden)[:, :, 0], masks(self.names, present))

    def forward(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """See `Fusion.forward`."""
        return (self.weights(encoded, present)[:, :, None] * self.vectors(encoded, present)).sum(dim=1)


class GatedFusion(Fusion):
    """Gated multimodal units: each number of each modality passes a gate that sees all modalities: [batch, size].

    The gates of one number are a softmax over the present modalities: with two of them it is the paper's sigmoid and
    its complement, and a missing one leaves its share to the others.

    Args:
        sizes: Size of each encoded modality; they may differ.
        size: Numbers of the result.

    Reference:
        Arevalo et al. (2017), arXiv:1702.01992.
    """

    def __init__(self, sizes: Mapping[str, int], size: int) -> None:
        super().__init__(sizes, size)
        self.values = nn.ModuleList(nn.Linear(width, size) for width in sizes.values())
        self.gates = nn.Linear(sum(sizes.values()) + len(sizes), len(sizes) * size)

    def forward(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """See `Fusion.forward`."""
        vectors = [masked(encoded[name].vector, present[name]) for name in self.names]
        mask = masks(self.names, present)
        values = torch.stack([torch.tanh(one(z)) for one, z in zip(self.values, vectors, strict=True)], dim=1)
        scores = self.gates(torch.cat([*vectors, mask.to(values.dtype)], dim=1)).view(values.shape)
        gates = share_out(scores, mask[:, :, None].expand(values.shape))  # [batch, num_modalities, size]
        return (gates * values).sum(dim=1)
