"""Encoded modalities of made-up batches, and every subset of them, for tests of fusions."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from features.fusion.configs import FUSIONS, FusionConfig
from features.fusion.encoded import Encoded
from features.fusion.fusions import Fusion, build_fusion

VECTORS = tuple(kind for kind in FUSIONS if kind != "late")
SIZES = {"video": 4, "audio": 4, "text": 4}
RAGGED = {"video": 3, "audio": 5, "text": 2}
ANY_SIZES = ("concat", "gated", "low_rank", "tensor")


def fusion_of(kind: str, sizes: dict[str, int] = SIZES, **changes: object) -> Fusion:
    torch.manual_seed(0)
    fusion = build_fusion(FusionConfig(kind, **{"size": 6, "heads": 2, **changes}), sizes).double().eval()
    with torch.no_grad():
        for parameter in fusion.parameters():  # what starts at 0 is to matter too
            parameter.add_(0.1 * torch.randn_like(parameter))
    return fusion


def encoded_batch(
    count: int, sizes: dict[str, int] = SIZES, *, steps: bool = False, seed: int = 0
) -> dict[str, Encoded]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    result = {}
    for number, (name, size) in enumerate(sizes.items()):
        mask = torch.arange(3 + number) < torch.randint(1, 4 + number, (count, 1), generator=generator)
        result[name] = (
            Encoded(draw(count, size), draw(count, 3 + number, size), mask) if steps else Encoded(draw(count, size))
        )
    return result


def all_subsets(names: dict[str, int] = SIZES) -> dict[str, Tensor]:
    """Masks of every subset of the modalities, none among them: [2 ** n]."""
    subsets = torch.tensor(list(product([False, True], repeat=len(names))))
    return dict(zip(names, subsets.T, strict=True))


def all_present(count: int, names: dict[str, int] = SIZES) -> dict[str, Tensor]:
    return {name: torch.ones(count, dtype=torch.bool) for name in names}


def rows_of(encoded: dict[str, Encoded], rows: Tensor) -> dict[str, Encoded]:
    return {name: Encoded(*(None if part is None else part[rows] for part in item)) for name, item in encoded.items()}
