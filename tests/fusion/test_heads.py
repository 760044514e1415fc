from __future__ import annotations

import pytest
import torch

from features.fusion.heads import build_head, num_outputs


@pytest.mark.parametrize(
    ("kind", "num_classes", "expected"), [("class", 8, 8), ("binary", 2, 1), ("multilabel", 4, 4), ("regression", 0, 1)]
)
def test_a_head_is_one_linear_layer_to_what_its_kind_needs(kind: str, num_classes: int, expected: int) -> None:
    head = build_head(kind, 6, num_classes)
    assert num_outputs(kind, num_classes) == expected
    fused = torch.randn(5, 6)
    weight, bias = head.parameters()
    assert weight.shape == (expected, 6)
    torch.testing.assert_close(head(fused), fused @ weight.T + bias)


def test_the_same_seed_gives_the_same_weights() -> None:
    heads = []
    for _ in range(2):
        torch.manual_seed(3)
        heads.append(build_head("class", 6, 4))
    assert torch.equal(heads[0].weight, heads[1].weight)
