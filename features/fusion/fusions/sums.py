"""Fusions that lay modalities side by side or add them up: concat, weighted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from features.fusion.fusions.base import Fusion, ModalityWeights, one_size

if TYPE_CHECKING:
    from features.fusion.encoded import Encoded


class ConcatFusion(Fusion):
    """Encoded modalities end to end, with the mask beside them: [batch, sum of sizes + num_modalities].

    An absent modality is replaced, after encoding, by a learned vector of its own, and its mask bit is 0.

    Args:
        sizes: Size of each encoded modality, in order.

    Reference:
        Baltrusaitis et al. (2019), doi:10.1109/TPAMI.2018.2798607, feature-level fusion.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__(sizes, sum(sizes.values()) + len(sizes))
        self.absent = nn.ParameterDict({name: nn.Parameter(torch.zeros(size)) for name, size in sizes.items()})

    def forward(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """See `Fusion.forward`: the modalities in order, then a bit each."""
        parts = [torch.where(present[name][:, None], encoded[name].vector, self.absent[name]) for name in self.names]
        bits = [present[name][:, None].to(parts[0].dtype) for name in self.names]
        return torch.cat([*parts, *bits], dim=1)


class WeightedFusion(Fusion):
    """The weighted mean of modalities of one size, over those that are present: [batch, size].

    Args:
        sizes: Size of each encoded modality, all the same.
        weights: Fixed weights by modality, such as 0.5, 0.3, 0.2; empty: learned, from equal ones.

    Reference:
        Atrey et al. (2010), doi:10.1007/s00530-010-0182-0, linear weighted fusion.
    """

    def __init__(self, sizes: Mapping[str, int], weights: Mapping[str, float]) -> None:
        super().__init__(sizes, one_size("weighted", sizes))
        self.weights = ModalityWeights(self.names, weights, learned=not weights)

    def forward(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """See `Fusion.forward`."""
        weights: Tensor = self.weights(present)
        return (weights[:, :, None] * self.vectors(encoded, present)).sum(dim=1)
