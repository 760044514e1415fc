"""Fusions: the encoded modalities that are present, to one vector. One small class each, named by its paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Mapping


class ConcatFusion(nn.Module):
    """Encoded modalities end to end, with the mask beside them.

    An absent modality is replaced, after encoding, by a learned vector of its own, and its mask bit is 0: nothing
    that was in its place reaches the output.

    Args:
        sizes: Size of each encoded modality, in order.

    Reference:
        Baltrusaitis et al. (2019), doi:10.1109/TPAMI.2018.2798607, feature-level fusion.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.absent = nn.ParameterDict({name: nn.Parameter(torch.zeros(size)) for name, size in sizes.items()})
        self.size = sum(sizes.values()) + len(sizes)

    def forward(self, encoded: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Join the modalities.

        Args:
            encoded: Float [batch, size] by modality.
            present: Bool [batch] by modality.

        Returns:
            Float, shape [batch, self.size]: the modalities in order, then a bit each.
        """
        parts = [torch.where(present[name][:, None], encoded[name], self.absent[name]) for name in self.absent]
        bits = [present[name][:, None].to(parts[0].dtype) for name in self.absent]
        return torch.cat([*parts, *bits], dim=1)


Fusion = ConcatFusion


def build_fusion(kind: str, sizes: Mapping[str, int]) -> Fusion:
    """The fusion that a recipe states."""
    return {"concat": ConcatFusion}[kind](sizes)
