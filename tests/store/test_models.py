"""The registry of models: versions, names, what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from features.errors import ModelError
from features.store.models import ModelRef, find_model, list_models, model_folder, newest_model, next_version

if TYPE_CHECKING:
    from features.store import Store


def register(store: Store, name: str, *versions: int) -> None:
    for version in versions:
        folder = model_folder(store, ModelRef(name, version))
        folder.mkdir(parents=True)
        (folder / "model.json").write_text("{}")


def test_versions_count_up_as_numbers(store: Store) -> None:
    assert next_version(store, "mood") == 1
    register(store, "mood", 1, 2, 9, 10)
    assert newest_model(store, "mood") == ModelRef("mood", 10)
    assert next_version(store, "mood") == 11
    assert newest_model(store, "other") is None


def test_a_name_means_the_newest_version(store: Store) -> None:
    register(store, "mood", 1, 2, 10)
    assert find_model(store, "mood") == ("mood", 10)
    assert find_model(store, "mood@2") == ("mood", 2)
    assert find_model(store, "mood@2").table == "scores/mood@2"


def test_a_half_written_model_does_not_count(store: Store) -> None:
    register(store, "mood", 1)
    model_folder(store, ModelRef("mood", 2)).mkdir()
    assert list_models(store) == (ModelRef("mood", 1),)


@pytest.mark.parametrize(
    ("text", "hint"),
    [("moot", "did you mean 'mood@1'"), ("mood@3", "did you mean 'mood@1'"), ("zzz", "models: mood@1")],
)
def test_a_missing_model_is_named_with_what_there_is(store: Store, text: str, hint: str) -> None:
    register(store, "mood", 1)
    with pytest.raises(ModelError, match=rf"there is no model '{text}' in '.*'; {hint}"):
        find_model(store, text)


def test_a_store_without_models_says_how_to_get_one(store: Store) -> None:
    with pytest.raises(ModelError, match="train one: triptych train"):
        find_model(store, "mood")
