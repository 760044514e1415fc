"""What holds for all fusions: masks, order, sizes of a batch, learning by heart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from features.errors import ConfigError
from features.fusion.configs import EncoderConfig, FusionConfig
from features.fusion.encoded import Encoded
from features.fusion.encoders import build_encoder
from features.fusion.fusions import build_fusion
from tests.fusion.encoded_batches import (
    ANY_SIZES,
    RAGGED,
    SIZES,
    VECTORS,
    all_present,
    all_subsets,
    encoded_batch,
    fusion_of,
    rows_of,
)


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("kind", VECTORS)
def test_any_subset_gives_a_finite_vector_of_the_fusions_size(kind: str, steps: bool) -> None:
    fusion = fusion_of(kind)
    found = fusion(encoded_batch(8, steps=steps), all_subsets())
    assert found.shape == (8, fusion.size)
    assert torch.isfinite(found).all()
    if parameters := list(fusion.parameters()):
        gradients = torch.autograd.grad(found.square().sum(), parameters)
        assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("stand_in", [float("nan"), 1e30, float("inf")])
@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("kind", VECTORS)
def test_what_stands_in_an_absent_modalitys_place_is_irrelevant(kind: str, steps: bool, stand_in: float) -> None:
    fusion, present = fusion_of(kind), all_subsets()
    results = []
    for filler in (0.0, stand_in):
        encoded = {}
        for name, item in encoded_batch(8, steps=steps).items():
            there = present[name][:, None]
            vector = torch.where(there, item.vector, filler).requires_grad_()
            if item.steps is None or item.mask is None:
                encoded[name] = Encoded(vector)
                continue
            real = (item.mask & there)[..., None]
            encoded[name] = Encoded(vector, torch.where(real, item.steps, filler).requires_grad_(), item.mask)
        found = fusion(encoded, present)
        inputs = [part for item in encoded.values() for part in (item.vector, item.steps) if part is not None]
        wanted = [*fusion.parameters(), *inputs]
        gradients = torch.autograd.grad(found.square().sum(), wanted, allow_unused=True)
        for (name, item), gradient in zip(encoded.items(), gradients[-len(inputs) :: 1 + steps], strict=True):
            if gradient is not None:
                assert not gradient[~present[name]].any()
                assert gradient.shape == item.vector.shape
        results.append([found, *(gradient for gradient in gradients if gradient is not None)])
    assert len(results[0]) == len(results[1])
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("kind", VECTORS)
def test_rows_do_not_see_each_other(kind: str, steps: bool) -> None:
    fusion = fusion_of(kind)
    encoded = encoded_batch(64, steps=steps)
    present = {name: mask.repeat(8) for name, mask in all_subsets().items()}
    whole = fusion(encoded, present)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    for rows in (order, *torch.arange(64).split(1), *torch.arange(64).split(7)):
        part = fusion(rows_of(encoded, rows), {name: mask[rows] for name, mask in present.items()})
        torch.testing.assert_close(part, whole[rows], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", VECTORS)
def test_present_modalities_matter(kind: str) -> None:
    fusion, present = fusion_of(kind), all_present(5)
    vectors = {name: item.vector.requires_grad_() for name, item in encoded_batch(5).items()}
    found = fusion({name: Encoded(vector) for name, vector in vectors.items()}, present)
    for gradient in torch.autograd.grad(found.sum(), list(vectors.values())):
        assert gradient.any(dim=1).all()


@pytest.mark.parametrize("kind", VECTORS)
def test_one_modality_can_be_fused(kind: str) -> None:
    fusion = fusion_of(kind, {"audio": 4})
    found = fusion(encoded_batch(2, {"audio": 4}), {"audio": torch.tensor([True, False])})
    assert found.shape == (2, fusion.size)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("kind", ANY_SIZES)
def test_encoders_may_differ_in_size(kind: str) -> None:
    fusion = fusion_of(kind, RAGGED)
    assert fusion(encoded_batch(8, RAGGED), all_subsets(RAGGED)).shape == (8, fusion.size)


@pytest.mark.parametrize("kind", [kind for kind in VECTORS if kind not in ANY_SIZES])
def test_encoders_of_several_sizes_are_refused_where_one_is_needed(kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{kind}' needs encoders of one size.*'audio': 5"):
        build_fusion(FusionConfig(kind), RAGGED)


@pytest.mark.parametrize("kind", VECTORS)
def test_the_same_seed_gives_the_same_weights(kind: str) -> None:
    one, other = fusion_of(kind).state_dict(), fusion_of(kind).state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_late_is_no_fusion_of_vectors() -> None:
    with pytest.raises(ConfigError, match="no fusion 'late' of vectors; write one of concat"):
        build_fusion(FusionConfig("late"), SIZES)


ENCODERS = {"linear": (5,), "mlp": (5,), "lstm": (6, 5), "transformer": (6, 5), "cnn": (6, 5)}


@pytest.mark.parametrize("encoder", list(ENCODERS))
@pytest.mark.parametrize("kind", VECTORS)
def test_a_batch_is_learned_by_heart(kind: str, encoder: str) -> None:
    torch.manual_seed(0)
    config = EncoderConfig(encoder, 16, 0, heads=2, filters=16)
    encoders = nn.ModuleDict({name: build_encoder(config, ENCODERS[encoder]) for name in SIZES})
    fusion = build_fusion(FusionConfig(kind, size=16, heads=2), dict.fromkeys(SIZES, 16))
    head = nn.Linear(fusion.size, 3)
    values = {name: torch.randn(8, *ENCODERS[encoder]) for name in SIZES}
    lengths = torch.tensor([6, 5, 4, 3, 6, 5, 4, 3]) if encoder not in ("linear", "mlp") else None
    present = {name: mask.roll(place) for place, (name, mask) in enumerate(all_subsets().items())}
    present["video"] = present["video"] | ~torch.stack(list(present.values())).any(dim=0)
    targets = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    parameters = [*encoders.parameters(), *fusion.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(parameters, 0.02)
    loss = torch.tensor(torch.inf)
    for _ in range(300):
        found = fusion({name: encoders[name](values[name], lengths) for name in SIZES}, present)
        loss = nn.functional.cross_entropy(head(found), targets)
        if loss < 0.005:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.005
