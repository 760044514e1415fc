from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from features.errors import ConfigError
from features.fusion.configs import EncoderConfig
from features.fusion.inputs import Gathered, align
from features.fusion.recipe import RecipeFeature
from features.fusion.segments import SEGMENTS
from features.schema import data_schema_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.fusion.recipe import Recipe
    from tests.fusion.conftest import Archive

SECOND = 1_000_000


def rows_of(values: Sequence[Sequence[float]], table: str = "features/any@1") -> pa.Table:
    """A row a second of media `m`."""
    rows = [
        {"media_id": "m", "start_us": place * SECOND, "end_us": (place + 1) * SECOND, "values": list(value)}
        for place, value in enumerate(values)
    ]
    return pa.Table.from_pylist(rows, schema=data_schema_of(table))


def segments_of(*spans: tuple[int, int]) -> pa.Table:
    return pa.table([["m"] * len(spans), [a * SECOND for a, _ in spans], [b * SECOND for _, b in spans]], SEGMENTS)


def only(recipe: Recipe, feature: RecipeFeature, encoder: EncoderConfig | None = None) -> Recipe:
    encoders = {feature.modality: encoder} if encoder else {}
    return replace(recipe, features=(feature,), encoders=encoders)


def test_several_pools_stand_end_to_end(recipe: Recipe) -> None:
    rows = rows_of([[1, 2], [3, 6]])
    given = only(recipe, RecipeFeature("pictures@1", "video", "mean+std+max"))
    found = align(given, segments_of((0, 2)), {"pictures@1": rows}, {})
    assert found.values["video"].tolist() == [[2, 4, 1, 2, 3, 6]]
    assert found.widths == {"pictures@1": 2}
    assert not found.lengths


def test_a_sequence_is_the_rows_in_order_and_how_many(recipe: Recipe) -> None:
    rows = rows_of([[1, 2], [3, 4], [5, 6]])
    given = only(recipe, RecipeFeature("pictures@1", "video", "sequence", 4))
    found = align(given, segments_of((0, 2), (0, 3), (90, 91)), {"pictures@1": rows}, {})
    assert found.values["video"][0].tolist() == [[1, 2], [3, 4], [0, 0], [0, 0]]
    assert found.lengths["video"].tolist() == [2, 3, 0]
    assert found.present["video"].tolist() == [True, True, False]


def test_ids_of_utterances_stand_end_to_end_without_padding(recipe: Recipe) -> None:
    rows = rows_of([[5, 6, 0, 0], [7, 0, 0, 0], [8, 9, 8, 9]], "features/tokens@1")
    given = only(recipe, RecipeFeature("tokens@1", "text", "sequence", 5), EncoderConfig("lstm", embedding=4))
    found = align(given, segments_of((0, 2), (0, 3)), {"tokens@1": rows}, {"m": "subtitle"})
    assert found.values["text"].tolist() == [[5, 6, 7, 0, 0], [5, 6, 7, 8, 9]]
    assert found.values["text"].dtype == np.int32


def test_recognised_text_is_masked_unless_allowed(recipe: Recipe) -> None:
    given = only(recipe, RecipeFeature("words@1", "text"))
    rows, segments = {"words@1": rows_of([[1, 2]])}, segments_of((0, 1))
    assert not align(given, segments, rows, {"m": "asr:pocketsphinx"}).present["text"].any()
    allowed = replace(given, allow_recognised_text=True)
    assert align(allowed, segments, rows, {"m": "asr:pocketsphinx"}).present["text"].all()


def test_a_raw_input_that_nothing_computes(recipe: Recipe) -> None:
    with pytest.raises(ConfigError, match="wants the raw input 'frame64', and nothing here computes it"):
        align(only(recipe, RecipeFeature("frame64", "video")), segments_of((0, 1)), {}, {})


@pytest.mark.parametrize("in_memory_bytes", [1 << 20, 0], ids=["in memory", "in a mapped file"])
def test_pieces_in_any_order_are_the_whole(archive: Archive, in_memory_bytes: int) -> None:
    inputs = archive.examples().inputs
    order = np.random.default_rng(0).permutation(len(inputs))
    gathered = Gathered(len(inputs), in_memory_bytes=in_memory_bytes)
    for piece in np.array_split(order, 7):
        gathered.put(piece, inputs.take(piece))
    found = gathered.inputs()
    assert found is not None
    assert isinstance(found.values["audio"], np.memmap) == (in_memory_bytes == 0)
    for name in inputs.values:
        assert np.array_equal(found.values[name], inputs.values[name])
        assert np.array_equal(found.present[name], inputs.present[name])


def test_nothing_that_came_is_nothing() -> None:
    assert Gathered(0).inputs() is None
