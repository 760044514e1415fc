"""Fusions: the encoded modalities that are present, to one vector. One small class each, named by its paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.fusion.fusions.base import Fusion
from features.fusion.fusions.cross_modal import CrossModalFusion
from features.fusion.fusions.gates import AttentionFusion, GatedFusion
from features.fusion.fusions.late import LateVotes
from features.fusion.fusions.products import LowRankFusion, TensorFusion
from features.fusion.fusions.sums import ConcatFusion, WeightedFusion

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.fusion.configs import FusionConfig

__all__ = [
    "AttentionFusion",
    "ConcatFusion",
    "CrossModalFusion",
    "Fusion",
    "GatedFusion",
    "LateVotes",
    "LowRankFusion",
    "TensorFusion",
    "WeightedFusion",
    "build_fusion",
]

_KINDS: dict[str, Callable[[FusionConfig, Mapping[str, int]], Fusion]] = {
    "concat": lambda _, sizes: ConcatFusion(sizes),
    "weighted": lambda config, sizes: WeightedFusion(sizes, config.weights),
    "attention": lambda _, sizes: AttentionFusion(sizes),
    "gated": lambda config, sizes: GatedFusion(sizes, config.size),
    "low_rank": lambda config, sizes: LowRankFusion(sizes, config.size, config.rank),
    "tensor": lambda _, sizes: TensorFusion(sizes),
    "cross_modal": CrossModalFusion,
}


def build_fusion(config: FusionConfig, sizes: Mapping[str, int]) -> Fusion:
    """The fusion that a recipe states; `late` is none, but a way to count votes (`LateVotes`).

    Args:
        config: As the recipe has it.
        sizes: Size of each encoded modality, in order.

    Raises:
        ConfigError: There is no such fusion.
    """
    if config.kind not in _KINDS:
        message = f"there is no fusion {config.kind!r} of vectors; write one of {', '.join(_KINDS)}"
        raise ConfigError(message)
    return _KINDS[config.kind](config, sizes)
