"""Scores are made again by the model that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from features.store import read_table
from features.store.commit import generation_of
from features.store.verify import verify_store
from tests.store.damage import file_of, flip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from features.store import Store


@pytest.mark.slow
def test_scores_are_made_again_as_they_were(
    triptych: Callable[..., Any], store: Store, recipe: Path, write_labels: Callable[..., Path]
) -> None:
    triptych("--store", store.root, "label", "mood", write_labels("low", "high"))
    triptych("--store", store.root, "train", recipe)
    assert triptych("--store", store.root, "score", "moods", "--runner", "in-process").status == 0
    rows, other = read_table(store, "scores/moods@1").to_pylist(), file_of(store, "scores/moods@1", "b2")
    flip(file_of(store, "scores/moods@1", "b1"))
    done = triptych("--store", store.root, "verify", "scores/moods@1", "--repair", "--runner", "in-process")
    assert done.status == 0, done.out
    assert read_table(store, "scores/moods@1").to_pylist() == rows
    assert file_of(store, "scores/moods@1", "b2") == other
    assert generation_of(store, "scores/moods@1", "score:moods@1", "b1") == 2
    assert verify_store(store, ["scores/moods@1"]).findings == ()
