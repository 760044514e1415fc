"""Fusions against numpy on known vectors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from features.fusion.configs import FusionConfig
from features.fusion.encoded import Encoded
from features.fusion.fusions import GatedFusion, LowRankFusion, TensorFusion, build_fusion
from tests.fusion.encoded_batches import (
    RAGGED,
    SIZES,
    all_present,
    all_subsets,
    encoded_batch,
    fusion_of,
)


def test_concat_lays_modalities_end_to_end_with_a_bit_each() -> None:
    fusion, encoded, present = fusion_of("concat", RAGGED), encoded_batch(8, RAGGED), all_subsets(RAGGED)
    found = fusion(encoded, present).detach().numpy()
    for row in range(8):
        parts = [encoded[n].vector[row] if present[n][row] else fusion.absent[n].detach() for n in RAGGED]
        bits = [float(present[name][row]) for name in RAGGED]
        np.testing.assert_array_equal(found[row], np.concatenate([*parts, bits]))


def test_fixed_weights_are_shared_out_over_what_is_present() -> None:
    fusion = build_fusion(FusionConfig("weighted", weights={"video": 0.5, "audio": 0.3, "text": 0.2}), SIZES)
    known = {"video": [1.0, 0, 0, 0], "audio": [0, 1.0, 0, 0], "text": [0, 0, 1.0, 0]}
    encoded = {name: Encoded(torch.tensor([vector] * 8)) for name, vector in known.items()}
    expected = [
        [0, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 1, 0, 0],
        [0, 0.6, 0.4, 0],
        [1, 0, 0, 0],
        [5 / 7, 0, 2 / 7, 0],
        [0.625, 0.375, 0, 0],
        [0.5, 0.3, 0.2, 0],
    ]
    torch.testing.assert_close(fusion(encoded, all_subsets()), torch.tensor(expected), rtol=0, atol=1e-6)
    assert not list(fusion.parameters())


def test_a_modality_of_weight_0_counts_nothing() -> None:
    fusion = build_fusion(FusionConfig("weighted", weights={"video": 1.0, "audio": 1.0, "text": 0.0}), SIZES).double()
    encoded = encoded_batch(8)
    found = fusion(encoded, all_subsets())
    video, audio = encoded["video"].vector, encoded["audio"].vector
    torch.testing.assert_close(found[7], (video[7] + audio[7]) / 2)
    assert not found[1].any()


def test_learned_weights_start_equal_and_are_a_softmax() -> None:
    fusion = build_fusion(FusionConfig("weighted"), SIZES)
    torch.testing.assert_close(fusion.weights(all_present(1)), torch.full((1, 3), 1 / 3))
    with torch.no_grad():
        fusion.weights.scores.copy_(torch.tensor([0.0, 1.0, 2.0]))
    exp = np.exp([0, 1, 2])
    np.testing.assert_allclose(fusion.weights(all_present(1))[0].detach(), exp / exp.sum(), rtol=1e-6)
    without_audio = all_present(1) | {"audio": torch.tensor([False])}
    np.testing.assert_allclose(
        fusion.weights(without_audio)[0].detach(), exp * [1, 0, 1] / exp[[0, 2]].sum(), rtol=1e-6
    )


def test_attention_weights_sum_to_one_over_what_is_present() -> None:
    fusion, encoded, present = fusion_of("attention"), encoded_batch(8), all_subsets()
    weights = fusion.weights(encoded, present).detach()
    mask = torch.stack(list(present.values()), dim=1)
    assert not weights[~mask].any()
    assert (weights[mask] > 0).all()
    torch.testing.assert_close(weights.sum(dim=1), mask.any(dim=1).double(), rtol=0, atol=1e-12)
    vectors = torch.stack([item.vector for item in encoded.values()], dim=1)
    torch.testing.assert_close(fusion(encoded, present).detach(), torch.einsum("bm,bms->bs", weights, vectors))


def test_attention_prefers_what_the_query_asks_for() -> None:
    fusion = build_fusion(FusionConfig("attention"), {"video": 2, "audio": 2}).double()
    with torch.no_grad():
        fusion.hidden.weight.copy_(torch.eye(2))
        fusion.hidden.bias.zero_()
        fusion.query.weight.copy_(torch.tensor([[3.0, 0.0]]))
    vectors = {"video": torch.tensor([[1.0, 0.0]]), "audio": torch.tensor([[0.0, 1.0]])}
    encoded = {name: Encoded(vector.double()) for name, vector in vectors.items()}
    scores = np.exp([3 * np.tanh(1), 0])
    found = fusion.weights(encoded, all_present(1, {"video": 2, "audio": 2})).detach()
    np.testing.assert_allclose(found[0], scores / scores.sum(), rtol=1e-12)


def test_a_gate_of_two_is_the_papers_sigmoid_and_its_complement() -> None:
    sizes = {"video": 3, "audio": 5}
    fusion, encoded = fusion_of("gated", sizes), encoded_batch(4, sizes)
    assert isinstance(fusion, GatedFusion)
    video, audio = (item.vector for item in encoded.values())
    seen = torch.cat([video, audio, torch.ones(4, 2)], dim=1)
    first, second = fusion.gates(seen).view(4, 2, 6).unbind(dim=1)
    gate = torch.sigmoid(first - second)
    expected = gate * torch.tanh(fusion.values[0](video)) + (1 - gate) * torch.tanh(fusion.values[1](audio))
    torch.testing.assert_close(fusion(encoded, all_present(4, sizes)), expected, rtol=0, atol=1e-12)
    alone = fusion(encoded, {"video": torch.ones(4).bool(), "audio": torch.zeros(4).bool()})
    torch.testing.assert_close(alone, torch.tanh(fusion.values[0](video)), rtol=0, atol=1e-12)


def _outer(encoded: dict[str, Encoded], present: dict[str, Tensor], row: int) -> np.ndarray:
    """The outer product of [1; z], z 0 where absent: [1 + size, ...]."""
    parts = [np.append(1, item.vector[row] * present[name][row]) for name, item in encoded.items()]
    return np.einsum("i,j,k->ijk", *parts)


def test_tensor_fusion_is_numpys_outer_product() -> None:
    fusion, encoded, present = fusion_of("tensor", RAGGED), encoded_batch(8, RAGGED), all_subsets(RAGGED)
    assert isinstance(fusion, TensorFusion)
    assert fusion.size == 4 * 6 * 3
    found = fusion(encoded, present).numpy()
    for row in range(8):
        np.testing.assert_allclose(found[row], _outer(encoded, present, row).ravel(), rtol=1e-12)


def test_low_rank_of_given_factors_is_the_full_tensors_contraction() -> None:
    fusion, encoded, present = fusion_of("low_rank", RAGGED, rank=3), encoded_batch(8, RAGGED), all_subsets(RAGGED)
    assert isinstance(fusion, LowRankFusion)
    factors = [fusion.factors[name].detach().numpy() for name in RAGGED]
    assert [factor.shape for factor in factors] == [(3, 4, 6), (3, 6, 6), (3, 3, 6)]
    full = np.einsum("r,ris,rjs,rks->ijks", fusion.mix.detach(), *factors)
    found = fusion(encoded, present).detach().numpy()
    for row in range(8):
        expected = np.einsum("ijk,ijks->s", _outer(encoded, present, row), full) + fusion.bias.detach().numpy()
        np.testing.assert_allclose(found[row], expected, rtol=1e-10)


def test_low_rank_starts_near_a_sum_that_absence_leaves_alone() -> None:
    torch.manual_seed(0)
    fusion = build_fusion(FusionConfig("low_rank", size=6), SIZES).double()
    small = {name: Encoded(1e-4 * item.vector) for name, item in encoded_batch(8).items()}
    found, present = fusion(small, all_subsets()), all_subsets()
    assert not found[0].any()
    parts = [fusion(small, {other: present[other] & (other == name) for other in SIZES}) for name in SIZES]
    torch.testing.assert_close(found, sum(parts), rtol=0, atol=1e-7)


def test_cross_modal_looks_at_each_source_and_at_no_absent_one() -> None:
    fusion, encoded = fusion_of("cross_modal"), encoded_batch(5, steps=True)
    parts = {"own": slice(0, 12), "bits": slice(-3, None)}
    found = fusion(encoded, all_present(5) | {"text": torch.zeros(5, dtype=torch.bool)})
    pairs = found[:, 12:-3].view(5, 6, 4)  # video<audio, video<text, audio<video, audio<text, text<video, text<audio
    assert pairs.any(dim=2).all(dim=0).tolist() == [True, False, True, False, False, False]
    assert found[:, parts["bits"]].tolist() == [[1, 1, 0]] * 5
    expected = torch.cat([encoded["video"].vector, encoded["audio"].vector, torch.zeros(5, 4)], dim=1)
    assert torch.equal(found[:, parts["own"]], expected)


def test_cross_modal_sees_the_order_of_steps_but_not_what_lies_beyond_them() -> None:
    fusion, encoded = fusion_of("cross_modal"), encoded_batch(5, steps=True)
    whole = fusion(encoded, all_present(5))
    video = encoded["video"]
    assert video.steps is not None
    assert video.mask is not None
    full = video.mask.sum(dim=1) > 1
    turned = Encoded(video.vector, torch.flip(video.steps, [1]), torch.flip(video.mask, [1]))
    assert not torch.isclose(fusion(encoded | {"video": turned}, all_present(5))[full], whole[full]).all()
    padded = Encoded(
        video.vector,
        torch.cat([video.steps, torch.full((5, 2, 4), torch.nan)], dim=1),
        torch.cat([video.mask, torch.zeros(5, 2, dtype=torch.bool)], dim=1),
    )
    torch.testing.assert_close(fusion(encoded | {"video": padded}, all_present(5)), whole, rtol=0, atol=1e-12)
