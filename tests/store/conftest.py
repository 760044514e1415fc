"""An empty store, and a place for one in a bucket."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from features.store import Store
from tests.store.s3_server import BUCKET, ENVIRONMENT, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def place(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where no store is yet."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}/a store"
