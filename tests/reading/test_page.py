"""The examples of features/READING.md do what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.schema import BATCH_ID
from features.spec import FeatureSpec
from features.store import Store, commit_files, read_table
from tests.reading.conftest import utterance
from tests.store.making import SECOND, media, put, write

PAGE = (Path(__file__).parents[2] / "features" / "READING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^## ([^\n]+)\n|^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
WIDTHS = {"efficientnet_lite0": 1280, "mfcc": 80, "minilm": 384}


def examples() -> dict[str, str]:
    """Code of each example by the section it stands in, with a number."""
    found: dict[str, str] = {}
    section = ""
    for heading, code in BLOCKS:
        section = heading or section
        if code:
            found[f"{section} {sum(name.startswith(section) for name in found) + 1}"] = code
    return found


@pytest.fixture
def page_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in `my-store` with the features that the page names; one batch is not whole."""
    monkeypatch.chdir(tmp_path)
    store = Store.create("my-store")
    for batch_id, media_ids in {"b1": ("a", "c"), "b2": ("d",), "b3": ("e",)}.items():
        for name, width in WIDTHS.items():
            spec = FeatureSpec(name, 1, "video", "frames", shape=(width,))
            rows = [_row(own, second, width) for own in media_ids for second in range(6)]
            commit_files(store, spec.table, [write(store, spec.table, batch_id, rows)], stage="test", spec=spec)
            put(store, spec.coverage_table, batch_id, [{"media_id": own, "status": "ok"} for own in media_ids])
        put(store, "transcripts", batch_id, [utterance(own, 1, 3, "subtitle") for own in media_ids])
        if batch_id != "b3":
            put(store, "media", batch_id, [media(own) for own in media_ids])
    return store


def _row(media_id: str, second: int, width: int) -> dict[str, Any]:
    values = np.full(width, second, np.float32)
    return {"media_id": media_id, "start_us": second * SECOND, "end_us": (second + 1) * SECOND, "values": values}


def run(name: str) -> dict[str, Any]:
    """Run an example; skipped where its package is not installed."""
    code = examples()[name]
    for package in re.findall(r"^(?:import|from) (pandas|polars|duckdb|deltalake|torch)\b", code, re.MULTILINE):
        pytest.importorskip(package)
    names: dict[str, Any] = {}
    exec(compile(code, name, "exec"), names)
    return names


def test_every_example_is_tested() -> None:
    others = {"pandas 1", "Polars 1", "DuckDB 1", "Plain deltalake 1"}
    aligned = {f"Aligned: `open_features` {number}" for number in (1, 2, 3)}
    assert set(examples()) == others | aligned | {"Torch 1", "Spark 1"}


@pytest.mark.parametrize("name", ["pandas 1", "Polars 1", "DuckDB 1"])
def test_outside_readers_see_whole_batches_only(page_store: Store, name: str) -> None:
    names = run(name)
    whole = read_table(page_store, "features/mfcc@1")
    keys = sorted(zip(whole[BATCH_ID].to_pylist(), whole["media_id"].to_pylist(), strict=True))
    rows = names["rows"]
    assert sorted(zip(list(map(str, rows["batch_id"])), list(map(str, rows["media_id"])), strict=True)) == keys
    assert len(keys) == 18


def test_one_batch_by_deltalake(page_store: Store) -> None:
    names = run("Plain deltalake 1")
    assert names["rows"]["media_id"].to_pylist() == ["a"] * 6 + ["c"] * 6
    assert names["version"] == page_store.load("features/mfcc@1").version()


def test_duckdb_tells_why(page_store: Store) -> None:
    assert run("DuckDB 1")["why"].fetchall() == [("ok", 3)]


def test_aligned_examples(page_store: Store) -> None:
    names = run("Aligned: `open_features` 1")
    assert names["heard"].num_rows == 1
    table = run("Aligned: `open_features` 2")["table"]
    assert table.column_names == ["name", "start_us", "mfcc@1", "mfcc@1:length", "minilm"]
    assert table["mfcc@1:length"].to_pylist() == [2, 2, 2]
    names = run("Aligned: `open_features` 3")
    assert names["timeline"]["media_id"].to_pylist() == ["a"] * 10
    assert next(iter(names["again"])).equals(next(iter(names["reader"])))
    assert names["today"].versions == names["reader"].versions
    assert page_store.has("media")


def test_torch_example(page_store: Store) -> None:
    names = run("Torch 1")
    assert names["vectors"].shape == (3, 80)
    assert names["mask"].all()
    assert names["position"]["epoch"] == 1
    assert list(names["dataset"]) == []
    assert page_store.has("media")


def test_the_spark_example_compiles() -> None:
    compile(examples()["Spark 1"], "Spark", "exec")
