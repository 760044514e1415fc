"""Cross-modal Transformer: each modality's steps look at the steps of each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from features.fusion.encoders.base import masked_mean
from features.fusion.encoders.sequences import waves
from features.fusion.fusions.base import Fusion

if TYPE_CHECKING:
    from features.fusion.configs import FusionConfig
    from features.fusion.encoded import Encoded


class CrossModalFusion(Fusion):
    """For each ordered pair, blocks in which a target's steps attend over a source's; means of steps, end to end.

    A target keeps its own vector beside what it saw of the others, so a modality that stands alone is not lost: its
    part is [own; mean over the sources that are present], zeros where it is absent. The result is
    [batch, num_modalities * 2 * size + num_modalities], a bit each at the end.

    Args:
        config: Heads, layers, dropout.
        sizes: Size of each encoded modality, all the same.

    Reference:
        Tsai et al. (2019), arXiv:1906.00295.
    """

    def __init__(self, config: FusionConfig, sizes: Mapping[str, int]) -> None:
        size = next(iter(sizes.values()))
        super().__init__(sizes, len(sizes) * (2 * size + 1))
        pairs = [(target, source) for target in sizes for source in sizes if target != source]
        self.pairs = nn.ModuleDict(
            {
                f"{target}<{source}": nn.ModuleList(
                    _CrossBlock(size, config.heads, config.dropout) for _ in range(config.layers)
                )
                for target, source in pairs
            }
        )

    def forward(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """See `Fusion.forward`."""
        steps = {name: _placed(encoded[name], present[name]) for name in self.names}
        parts, bits = [], []
        for target in self.names:
            own, mask = steps[target]
            seen = torch.zeros_like(own[:, 0])
            count = torch.zeros_like(seen[:, :1])
            for source in self.names:
                if source == target:
                    continue
                found = own
                for block in cast("nn.ModuleList", self.pairs[f"{target}<{source}"]):
                    found = block(found, *steps[source])
                there = (present[target] & present[source])[:, None]
                seen = seen + torch.where(there, masked_mean(found, mask), 0)
                count = count + there.to(count.dtype)
            vector = torch.where(present[target][:, None], encoded[target].vector, 0)
            parts.append(torch.cat([vector, seen / count.clamp(min=1)], dim=1))
            bits.append(present[target][:, None].to(vector.dtype))
        return torch.cat([*parts, *bits], dim=1)


class _CrossBlock(nn.Module):
    """Attention from one modality's steps over another's, then a feed-forward layer, each normalised before."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.of_target, self.of_source = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attention = nn.MultiheadAttention(size, heads, dropout, batch_first=True)
        self.forward_layers = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, 2 * size), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * size, size)
        )

    def forward(self, target: Tensor, source: Tensor, source_mask: Tensor) -> Tensor:
        """[batch, target steps, size], of a source with its mask [batch, source steps]."""
        seen = source_mask | ~source_mask.any(dim=1, keepdim=True)  # attention over nothing is not a number
        keys = self.of_source(source)
        found, _ = self.attention(self.of_target(target), keys, keys, key_padding_mask=~seen, need_weights=False)
        target = target + found
        result: Tensor = target + self.forward_layers(target)
        return result


def _placed(encoded: Encoded, present: Tensor) -> tuple[Tensor, Tensor]:
    """Steps with their place in time, zeros where there is none, and the mask."""
    steps, mask = encoded.as_steps()
    mask = mask & present[:, None]
    placed = steps + waves(steps.shape[1], steps.shape[2]).to(steps) if encoded.steps is not None else steps
    return torch.where(mask[..., None], placed, 0), mask
