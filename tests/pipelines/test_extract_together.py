"""Several extractors in one wave, any size of batch, one or two workers: the rows are the same, to the bit."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from features.store import Store, read_table
from flows import stages
from pipelines.options import ExtractConfig
from pipelines.supervise import run_wave
from tests.pipelines.running import extract_here, rows_of

if TYPE_CHECKING:
    from pathlib import Path

_SOUND = ("mfcc", "prosody", "mel")


def tables_of(*names: str) -> list[str]:
    return [f"{kind}/{name}@1" for name in names for kind in ("features", "coverage")]


@pytest.fixture
def again(ingested: Store, tmp_path: Path) -> Store:
    """The same store before anything is extracted."""
    return Store.open(shutil.copytree(ingested.path, tmp_path / "again"))


def test_extractors_of_a_table_in_one_wave_are_as_each_alone(ingested: Store, again: Store) -> None:
    (wave,) = extract_here(ingested, *_SOUND, "efficientnet_lite0", wave_batches=9)
    assert set(wave.targets) == {*_SOUND, "efficientnet_lite0"}
    for name in (*_SOUND, "efficientnet_lite0"):
        extract_here(again, name, wave_batches=9)
    tables = tables_of(*_SOUND, "efficientnet_lite0")
    assert rows_of(again, tables) == rows_of(ingested, tables)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_the_size_of_a_batch_does_not_show(ingested: Store, again: Store, batch_size: int) -> None:
    names = ("mfcc", "efficientnet_lite0", "minilm")
    extract_here(ingested, *names, "pocketsphinx", batch_size=64)
    extract_here(again, *names, "pocketsphinx", batch_size=batch_size)
    tables = tables_of(*names)
    assert near(rows_of(again, tables), rows_of(ingested, tables))


@pytest.mark.slow
def test_two_workers_give_the_rows_of_one(ingested: Store, again: Store) -> None:
    for store, workers in ((ingested, 1), (again, 2)):
        given = ExtractConfig(runner="multi", workers=workers, wave_batches=9)
        for wave in stages.plan_extract(given, store, [["mfcc", "efficientnet_lite0"]], "run"):
            run_wave(wave, given)
    tables = tables_of("mfcc", "efficientnet_lite0")
    assert rows_of(again, tables) == rows_of(ingested, tables)


def test_what_is_skipped_is_a_feature_of_its_own(ingested: Store) -> None:
    extract_here(ingested, "mfcc", "mfcc+nonsilent")
    every = read_table(ingested, "features/mfcc@1")
    heard = read_table(ingested, "features/mfcc_nonsilent@1")
    places = ["media_id", "start_us", "end_us"]
    assert 0 < heard.num_rows <= every.num_rows
    assert {tuple(row.values()) for row in heard.select(places).to_pylist()} <= {
        tuple(row.values()) for row in every.select(places).to_pylist()
    }
    spec = ingested.spec("features/mfcc_nonsilent@1")
    assert spec is not None
    assert spec.maker == "mfcc+nonsilent"


def near(one: dict[str, list[dict[str, object]]], other: dict[str, list[dict[str, object]]]) -> bool:
    """Equal, numbers to 1e-4 of their size: products of matrices round differently by the size of a batch."""
    return one.keys() == other.keys() and all(
        left.keys() == right.keys()
        and all(
            left[name] == (pytest.approx(right[name], rel=1e-4, abs=1e-4) if name == "values" else right[name])
            for name in left
        )
        for table in one
        for left, right in zip(one[table], other[table], strict=True)
    )
