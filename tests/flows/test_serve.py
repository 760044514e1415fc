"""What a served run is started with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.cli import main


def test_buckets_are_served_as_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[dict[str, Any]] = []
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setattr("flows.commands.serve.check_inputs", lambda *_: None)
    monkeypatch.setattr("flows.commands.serve._serve", lambda _, parameters: served.append(parameters))
    sources = ["s3://bucket/videos/", "https://host/a.mp4"]
    assert main(["--store", "s3://bucket/store/", "serve", *sources, "clips"]) == 0
    assert served[0]["sources"] == [*sources, str(Path("clips").absolute())]
    assert served[0]["store"] == "s3://bucket/store"
