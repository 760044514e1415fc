"""Inputs that lie in a file beside memory are looked at a piece at a time, in evaluation as in training."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from features.fusion import normalise, prediction
from features.fusion.evaluate import evaluate, probe
from features.fusion.examples import Inputs
from features.fusion.inputs import Gathered
from features.fusion.normalise import scales_of
from features.fusion.prediction import predict_outputs
from features.fusion.training import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.fusion.examples import Examples
    from features.fusion.recipe import Recipe
    from features.fusion.training import Trained

COUNT, WIDTH = 4_000, 300
SIZE = COUNT * WIDTH * 4  # bytes of a modality, 4.8 MB


@pytest.fixture(scope="module")
def examples(make_examples: Callable[..., Examples], recipe: Recipe) -> Examples:
    """Mapped from a file."""
    random = np.random.default_rng(0)
    gathered = Gathered(COUNT, in_memory_bytes=0)
    for rows in np.array_split(np.arange(COUNT), 8):
        values = {name: random.normal(size=(len(rows), WIDTH)).astype(np.float32) for name in recipe.modalities}
        gathered.put(rows, Inputs(values, {name: np.ones(len(rows), bool) for name in values}, {}))
    inputs = gathered.inputs()
    assert inputs is not None
    assert all(isinstance(values, np.memmap) for values in inputs.values.values())
    return make_examples(dict(inputs.values), random.integers(2, size=COUNT))


@pytest.fixture(scope="module")
def trained(examples: Examples, recipe: Recipe) -> Trained:
    return train(replace(recipe, training=replace(recipe.training, epochs=1, seeds=(0,))), examples)


def _peak(work: Callable[[], object]) -> int:
    """Most bytes that were allocated at once."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_evaluation_holds_a_buffer_not_the_split(
    examples: Examples, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "_BATCH_BYTES", 100_000)
    split = SIZE * len(examples.inputs.values) // 5  # dev and test have a fifth each
    assert _peak(lambda: evaluate("fused", trained, examples)) < split / 2
    assert _peak(lambda: probe(trained, examples)) < split / 2


def test_scales_are_taken_a_piece_at_a_time(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scales_of(examples.inputs, examples.rows_of("train"))
    monkeypatch.setattr(normalise, "_BYTES_AT_ONCE", 100_000)
    assert _peak(lambda: scales_of(examples.inputs, examples.rows_of("train"))) < SIZE / 5
    for name, scale in scales_of(examples.inputs, examples.rows_of("train")).items():
        assert np.allclose(scale.mean, whole[name].mean, atol=1e-12)
        assert np.allclose(scale.std, whole[name].std, atol=1e-12)


def test_the_rows_asked_for_are_those_of_the_whole(examples: Examples, trained: Trained) -> None:
    rows = np.random.default_rng(1).permutation(COUNT)[:500]
    given = trained.models(), examples.inputs, examples.place, trained.priors
    some, whole = predict_outputs(*given, rows=rows)["mood"], predict_outputs(*given)["mood"]
    assert np.array_equal(some.astype(np.float32), whole[rows].astype(np.float32))
