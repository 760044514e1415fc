"""What fusions share: masks, weights over what is present, one size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from features.errors import ConfigError

if TYPE_CHECKING:
    from features.fusion.encoded import Encoded


class Fusion(nn.Module):
    """Encoded modalities, any subset of them, to one vector.

    What stands in the place of an absent modality never reaches the result, nor a gradient.

    Args:
        sizes: Size of each encoded modality, in order.
        size: Numbers of the result.
    """

    def __init__(self, sizes: Mapping[str, int], size: int) -> None:
        super().__init__()
        self.names = tuple(sizes)
        self.size = size

    def forward(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """Fuse a batch.

        Args:
            encoded: By modality.
            present: Bool [batch] by modality.

        Returns:
            Float [batch, self.size]; finite, also where nothing is present.
        """
        raise NotImplementedError

    def vectors(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """Vectors of one size, [batch, num_modalities, size]; zeros where absent."""
        return torch.stack([masked(encoded[name].vector, present[name]) for name in self.names], dim=1)


class ModalityWeights(nn.Module):
    """A weight a modality, fixed or learned, shared out anew over those that are present.

    Args:
        names: Modalities in order.
        fixed: Weights by modality, at least 0; empty: equal ones.
        learned: Whether training moves them: as the softmax of scores that start from the fixed ones.
    """

    def __init__(self, names: tuple[str, ...], fixed: Mapping[str, float], *, learned: bool) -> None:
        super().__init__()
        self.names = names
        start = torch.tensor([fixed[name] if fixed else 1.0 for name in names]).log()  # 0: minus infinity
        self.scores: Tensor
        if learned:
            self.scores = nn.Parameter(start)
        else:
            self.register_buffer("scores", start)

    def counted(self, present: Mapping[str, Tensor]) -> Tensor:
        """Which modalities are present and have a weight at all: bool [batch, num_modalities]."""
        return masks(self.names, present) & torch.isfinite(self.scores)

    def forward(self, present: Mapping[str, Tensor]) -> Tensor:
        """Weights [batch, num_modalities]: rows sum to 1, or are zeros where nothing counts."""
        counted = self.counted(present)
        return share_out(torch.nan_to_num(self.scores, neginf=0.0).expand(counted.shape), counted)

    def logarithms(self, present: Mapping[str, Tensor]) -> Tensor:
        """Logarithms of the weights; where nothing counts, of equal ones."""
        counted = self.counted(present)
        return _log_shares(torch.nan_to_num(self.scores, neginf=0.0).expand(counted.shape), counted)


def masks(names: tuple[str, ...], present: Mapping[str, Tensor]) -> Tensor:
    """Bool [batch, num_modalities]."""
    return torch.stack([present[name] for name in names], dim=1)


def masked(vector: Tensor, present: Tensor) -> Tensor:
    """A vector where it is present, zeros elsewhere: [batch, size]."""
    return torch.where(present[:, None], vector, torch.zeros_like(vector))


def share_out(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax of scores over what is present: [batch, n], rows sum to 1, or are zeros where nothing is."""
    return torch.where(mask, _log_shares(scores, mask).exp(), 0)


def one_size(kind: str, sizes: Mapping[str, int]) -> int:
    """The size that all modalities have.

    Raises:
        ConfigError: They differ.
    """
    if len(set(sizes.values())) != 1:
        message = f"a fusion of kind {kind!r} needs encoders of one size, and they have {dict(sizes)};"
        message += " give them all the same, or take concat, gated, low_rank or tensor"
        raise ConfigError(message)
    return next(iter(sizes.values()))


def _log_shares(scores: Tensor, mask: Tensor) -> Tensor:
    """Minus infinity where absent; equal shares in a row where nothing is present, so that no gradient is NaN."""
    filled = torch.where(mask, scores, -torch.inf)
    return torch.log_softmax(torch.where(mask.any(dim=1, keepdim=True), filled, 0), dim=1)
