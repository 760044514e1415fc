from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from features.errors import ModelError
from features.fusion.configs import EncoderConfig, TrainingConfig
from features.fusion.prediction import predict_outputs
from features.fusion.training import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.fusion.examples import Examples
    from features.fusion.recipe import Recipe
    from tests.fusion.conftest import Archive


@pytest.mark.parametrize("kind", ["mlp", "linear"])
def test_one_batch_is_learned_by_heart(recipe: Recipe, make_examples: Callable[..., Examples], kind: str) -> None:
    random = np.random.default_rng(0)
    values = {name: np.tile(random.normal(size=(5, 40)), (4, 1)) for name in recipe.modalities}
    examples = make_examples(values, np.tile([0, 1, 0, 0, 1], 4))
    examples = replace(examples, split=["train"] * 5 + ["dev"] * 5 + ["test"] * 10)
    config = TrainingConfig(
        epochs=300, learning_rate=0.02, weight_decay=0, patience=300, modality_dropout=0, seeds=(0,)
    )
    encoders = {name: EncoderConfig(kind, 16, 0) for name in recipe.modalities}
    trained = train(replace(recipe, training=config, encoders=encoders), examples)
    assert trained.members[0].best.dev_loss < 1e-3
    found = predict_outputs(trained.models(), examples.inputs, examples.place, trained.priors)["mood"]
    assert np.array_equal(found.argmax(axis=1), examples.task.values)


def test_the_same_seed_gives_the_same_weights(archive: Archive) -> None:
    examples = archive.examples()
    state = torch.random.get_rng_state()
    one, other = (train(archive.recipe, examples, seeds=[3]).members[0].state for _ in range(2))
    different = train(archive.recipe, examples, seeds=[4]).members[0].state
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(one[name], different[name]) for name in one)
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's random numbers move


def test_standardisation_sees_only_present_rows_of_the_training_split(archive: Archive) -> None:
    examples = archive.examples()
    rows = examples.of_split("train").inputs.values["audio"]
    state = train(archive.recipe, examples, modalities=["audio"], seeds=[0]).members[0].state
    assert np.allclose(state["encoders.audio.standardise.mean"], rows.mean(axis=0), atol=1e-6)
    assert np.allclose(state["encoders.audio.standardise.std"], rows.std(axis=0), atol=1e-6)


def test_the_test_split_changes_nothing(archive: Archive) -> None:
    examples = archive.examples()
    flipped = np.where(np.array(examples.split) == "test", 1 - examples.task.values, examples.task.values)
    swapped = {"mood": replace(examples.task, values=flipped)}
    one = train(archive.recipe, examples, seeds=[0]).members[0].state
    other = train(archive.recipe, replace(examples, tasks=swapped), seeds=[0]).members[0].state
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_training_stops_early_and_keeps_the_best(recipe: Recipe, make_examples: Callable[..., Examples]) -> None:
    random = np.random.default_rng(0)
    examples = make_examples(
        {name: random.normal(size=(60, 30)) for name in recipe.modalities}, random.integers(2, size=60)
    )
    config = TrainingConfig(epochs=200, learning_rate=0.01, patience=4, seeds=(0,))
    member = train(replace(recipe, training=config), examples).members[0]
    assert len(member.history) == member.best.epoch + 5
    assert member.best.dev_loss == min(epoch.dev_loss for epoch in member.history)


def test_one_class_only(recipe: Recipe, make_examples: Callable[..., Examples]) -> None:
    examples = make_examples({name: np.ones((20, 3)) for name in recipe.modalities}, np.zeros(20, int))
    with pytest.raises(ModelError, match=r"holds one class only, 'low' \(12 rows\); add labels"):
        train(recipe, examples)


def test_an_empty_split(recipe: Recipe, make_examples: Callable[..., Examples]) -> None:
    examples = make_examples({name: np.ones((20, 3)) for name in recipe.modalities}, np.arange(20) % 2)
    left = replace(examples.take(np.flatnonzero(np.array(examples.split) != "dev")), left_out={"mfcc@1 not run": 4})
    with pytest.raises(ModelError, match=r"the dev split of 'default' has no labelled segment .*'mfcc@1 not run': 4"):
        train(recipe, left)


def test_a_modality_that_no_media_has(recipe: Recipe, make_examples: Callable[..., Examples]) -> None:
    masks = {name: np.full(20, name != "text") for name in recipe.modalities}
    examples = make_examples({name: np.ones((20, 3)) for name in recipe.modalities}, np.arange(20) % 2, masks)
    with pytest.raises(
        ModelError, match=r"train split has modality 'text' \(features: words@1\).*allow_recognised_text"
    ):
        train(recipe, examples)
