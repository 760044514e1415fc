"""`[storage]` in the configuration: it reaches buckets, the environment wins, and keys are refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from features.errors import ConfigError
from features.store import Store
from flows.cli import main
from flows.storage_settings import apply_storage
from tests.store.s3_server import BUCKET, ENVIRONMENT, serving

if TYPE_CHECKING:
    from pathlib import Path

VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One that names no storage; it is put back."""
    for name in (*VARIABLES, "AWS_ALLOW_HTTP"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def test_a_file_reaches_a_bucket_with_keys_from_the_environment(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "triptych.toml"
    with serving() as url:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, ENVIRONMENT[name])
        table = f'[storage]\nendpoint_url = "{url}"\nregion = "us-east-1"\nallow_http = true\n'
        config.write_text(f'store = "s3://{BUCKET}/store"\n{table}')
        assert main(["--config", str(config), "status"]) == 3  # it is reached, and empty
        Store.create(f"s3://{BUCKET}/store")
        assert main(["--config", str(config), "status"]) == 0
    assert "s3://" in capsys.readouterr().out


def test_the_environment_wins(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    apply_storage({"region": "us-east-1", "endpoint_url": "https://here", "allow_http": False})
    assert "AWS_REGION" not in os.environ
    assert os.environ["AWS_ENDPOINT_URL"] == "https://here"
    assert os.environ["AWS_ALLOW_HTTP"] == "false"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"secret_access_key": "x"}, "'secret_access_key' in .storage.: credentials are taken from the environment"),
        ({"endpoint": "x"}, "unknown key 'endpoint' in .storage.; did you mean 'endpoint_url'"),
        ({"allow_http": "yes"}, "allow_http in .storage. must be bool, not 'yes'"),
        ({"region": 7}, "region in .storage. must be str, not 7"),
        ("s3", "'storage' must be a table, not 's3'"),
    ],
)
def test_what_the_table_does_not_take_is_told(given: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        apply_storage(given)
