"""Batches and models over a network that fails now and then: they are whole, and there once."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from features.store import Store, read_table
from features.store.models import ModelRef, list_models, model_folder
from features.store.publish import write_folder
from tests.store.making import media, put
from tests.store.s3_proxy import Proxy
from tests.store.s3_server import BUCKET, ENVIRONMENT, batch, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.store.s3_proxy import Fault


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with serving() as url, Proxy(url) as proxy:
        yield proxy


@pytest.fixture
def store(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    proxy.is_faulty = lambda _: False
    return Store.create(f"s3://{BUCKET}/{uuid.uuid4().hex}")


@pytest.mark.parametrize("fault", ["error", "lose"])
def test_two_writers_over_a_bad_line_commit_each_batch_once(store: Store, proxy: Proxy, fault: Fault) -> None:
    batch(store.root, "first")
    proxy.fault, proxy.is_faulty = fault, lambda number: number % 7 == 3
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: [put(store, "media", f"b{i}", [media(f"m{i}")]) for i in range(3)], range(2)))
    proxy.is_faulty = lambda _: False
    assert read_table(store, "media")["media_id"].to_pylist() == ["m0", "m1", "m2", "m-first"]


@pytest.mark.parametrize("fault", ["error", "refuse", "lose"])
def test_a_model_is_whole_whatever_answer_is_lost(store: Store, proxy: Proxy, fault: Fault) -> None:
    for version in range(1, 5):
        proxy.requests.clear()
        proxy.fault, proxy.is_faulty = fault, lambda number, version=version: number == version - 1
        write_folder(model_folder(store, ModelRef("moods", version)), {"weights": b"w" * 1000, "model.json": b"{}"})
    proxy.is_faulty = lambda _: False
    assert [ref.version for ref in list_models(store)] == [1, 2, 3, 4]
    for ref in list_models(store):
        assert (model_folder(store, ref) / "weights").read_bytes() == b"w" * 1000
