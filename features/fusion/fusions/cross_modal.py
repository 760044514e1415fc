"""Cross-modal Transformer: each modality's steps look at the steps of each other."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from features.fusion.encoders.attention import attended, sinusoidal_positions
from features.fusion.encoders.base import masked_mean
from features.fusion.fusions.base import Fusion, masked, one_size

if TYPE_CHECKING:
    from features.fusion.configs import FusionConfig
    from features.fusion.encoded import Encoded


class CrossModalFusion(Fusion):
    """For each ordered pair, blocks in which a target's steps attend over a source's; means over steps, end to end.

    Beside them stands each modality's own vector, so that one which is alone is not lost, and a bit each: with m
    modalities [batch, m * size + m * (m - 1) * size + m]. What an absent modality has a part in is zeros. A vector
    is a sequence of one step.

    Args:
        config: Heads, layers, dropout.
        sizes: Size of each encoded modality, all the same; heads divide it.

    Reference:
        Tsai et al. (2019), arXiv:1906.00295 (without its convolutions before and self-attention after, which are the
        encoders' and the context's).
    """

    def __init__(self, config: FusionConfig, sizes: Mapping[str, int]) -> None:
        size = one_size("cross_modal", sizes)
        super().__init__(sizes, len(sizes) ** 2 * size + len(sizes))
        self.pairs = nn.ModuleDict(
            {_key(*pair): _CrossModalBlocks(size, config) for pair in permutations(self.names, 2)}
        )

    def forward(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """See `Fusion.forward`: own vectors in order, pairs by target and source, then a bit each."""
        steps = {name: _placed(encoded[name], present[name]) for name in self.names}
        own = [masked(encoded[name].vector, present[name]) for name in self.names]
        seen = []
        for target, source in permutations(self.names, 2):
            blocks = cast("_CrossModalBlocks", self.pairs[_key(target, source)])
            found = masked_mean(blocks(steps[target][0], *steps[source]), steps[target][1])
            seen.append(masked(found, present[target] & present[source]))
        bits = [present[name][:, None].to(own[0].dtype) for name in self.names]
        return torch.cat([*own, *seen, *bits], dim=1)


class _CrossModalBlocks(nn.Module):
    """A target's steps attend over a source's, block after block, each part normalised before."""

    def __init__(self, size: int, config: FusionConfig) -> None:
        super().__init__()
        self.of_source = nn.LayerNorm(size)
        self.blocks = nn.ModuleList(_CrossBlock(size, config.heads, config.dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(size)

    def forward(self, target: Tensor, source: Tensor, source_mask: Tensor) -> Tensor:
        """[batch, target steps, size], of a source with its mask [batch, source steps]."""
        keys, hidden = self.of_source(source), ~attended(source_mask)
        for block in self.blocks:
            target = block(target, keys, hidden)
        result: Tensor = self.norm(target)
        return result


class _CrossBlock(nn.Module):
    """Attention from one modality's steps over another's, then a feed-forward layer."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.of_target = nn.LayerNorm(size)
        self.attention = nn.MultiheadAttention(size, heads, dropout, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, 2 * size), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * size, size)
        )

    def forward(self, target: Tensor, keys: Tensor, hidden: Tensor) -> Tensor:
        found, _ = self.attention(self.of_target(target), keys, keys, key_padding_mask=hidden, need_weights=False)
        target = target + found
        result: Tensor = target + self.feed_forward(target)
        return result


def _placed(encoded: Encoded, present: Tensor) -> tuple[Tensor, Tensor]:
    """Steps of a sequence with their place in time, zeros where there is none, and the mask."""
    steps, mask = encoded.as_steps()
    mask = mask & present[:, None]
    steps = torch.where(mask[..., None], steps, 0)
    if encoded.steps is None:
        return steps, mask
    return steps + sinusoidal_positions(steps.shape[1], steps.shape[2]).to(steps) * mask[..., None], mask


def _key(target: str, source: str) -> str:
    return f"{target}<{source}"
