"""Fusions that decide example by example how much each modality counts: attention, gated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from features.fusion.fusions.base import Fusion, share_out

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
        size = next(iter(sizes.values()))
        super().__init__(sizes, size)
        self.kinds = nn.Parameter(torch.zeros(len(sizes), size))
        self.hidden = nn.Linear(size, size)
        self.query = nn.Linear(size, 1, bias=False)

    def weights(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """Weight of each modality, [batch, num_modalities]; rows sum to 1 over what is present."""
        hidden = torch.tanh(self.hidden(self.vectors(encoded, present) + self.kinds))
        return share_out(self.query(hidden)[:, :, 0], self.masks(present))

    def forward(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """See `Fusion.forward`."""
        return (self.weights(encoded, present)[:, :, None] * self.vectors(encoded, present)).sum(dim=1)


class GatedFusion(Fusion):
    """Each number of each modality is let through by a gate that sees all of them: [batch, size].

    Gates of one number sum to 1 over the present modalities, so that a missing one leaves its share to the others.

    Args:
        sizes: Size of each encoded modality, all the same.

    Reference:
        Arevalo et al. (2017), arXiv:1702.01992 (gated multimodal units; there a sigmoid for two modalities).
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        size = next(iter(sizes.values()))
        super().__init__(sizes, size)
        count = len(sizes)
        self.values = nn.ModuleList(nn.Linear(size, size) for _ in range(count))
        self.gates = nn.Linear(count * size + count, count * size)

    def forward(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """See `Fusion.forward`."""
        vectors, mask = self.vectors(encoded, present), self.masks(present)
        values = torch.stack([torch.tanh(one(vectors[:, place])) for place, one in enumerate(self.values)], dim=1)
        seen = torch.cat([vectors.flatten(1), mask.to(vectors.dtype)], dim=1)
        scores = self.gates(seen).view(values.shape)
        batch, count, size = values.shape
        flat = scores.transpose(1, 2).reshape(batch * size, count)
        gates = share_out(flat, mask[:, None].expand(batch, size, count).reshape(batch * size, count))
        return (gates.view(batch, size, count).transpose(1, 2) * values).sum(dim=1)
