"""What is wrong with a bucket, or with what lies there, is told in words, with its remedy."""

from __future__ import annotations

import json
import re

import pytest

from features.errors import StoreError
from features.store import Store
from features.store.storage import place_of, put_bytes
from flows.cli import main
from tests.store.making import media, put
from tests.store.s3_proxy import Proxy


@pytest.fixture
def store(place: str) -> Store:
    return Store.create(place)


def test_a_prefix_that_holds_something_else_is_refused(place: str) -> None:
    put_bytes(place_of(place) / "letter.txt", b"dear ann")
    with pytest.raises(StoreError, match="is not a store and not empty"):
        Store.create(place)
    with pytest.raises(StoreError, match=r"is not a store \(it has no triptych-store.json\)"):
        Store.open(place)
    with pytest.raises(StoreError, match="there is no store at 's3://"):
        Store.open(f"{place}/deeper")


def test_a_newer_store_is_refused(place: str) -> None:
    put_bytes(place_of(place) / "triptych-store.json", json.dumps({"schema_version": 999}).encode())
    with pytest.raises(StoreError, match="install a newer triptych"):
        Store.open(place)


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ("s3://no-such-bucket/store", "'s3://no-such-bucket/store' .*make the bucket, or name another with --store"),
        ("s3:///store", "names no bucket"),
        ("gs://bucket/store", "'gs://bucket/store'; name a folder, or s3://BUCKET/PREFIX"),
    ],
)
def test_what_is_no_bucket_is_told(place: str, root: str, said: str) -> None:
    del place
    with pytest.raises(StoreError, match=said):
        Store.create(root)


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "AccessDenied", "let the key AWS_ACCESS_KEY_ID list, read, write and delete there"),
        (403, "InvalidAccessKeyId", "to a key that the endpoint knows"),
        (403, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY is not the secret of AWS_ACCESS_KEY_ID"),
        (403, "RequestTimeTooSkewed", "clock is wrong: set it"),
        (400, "ExpiredToken", "AWS_SESSION_TOKEN has expired"),
        (400, "AuthorizationHeaderMalformed", "set AWS_REGION to the bucket's region"),
    ],
)
def test_what_a_bucket_refuses_is_told_with_its_remedy(
    place: str, server: str, monkeypatch: pytest.MonkeyPatch, status: int, code: str, said: str
) -> None:
    with Proxy(server, lambda _: True, status=status, code=code) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        with pytest.raises(StoreError, match=said):
            Store.open(place)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("/part-", r"cannot write 's3://.*/media/batch_id=b2/part-.*\.parquet' \(injected\)"),
        ("_delta_log/", r"cannot commit to table 'media' in 's3://.*' \(AccessDenied: injected\)"),
    ],
)
def test_what_cannot_be_written_is_told_with_the_remedy_of_the_bucket(
    store: Store, server: str, monkeypatch: pytest.MonkeyPatch, what: str, told: str
) -> None:
    put(store, "media", "b1", [media("m1")])
    with Proxy(server, status=403, code="AccessDenied") as proxy:
        proxy.is_faulty = lambda _: proxy.requests[-1].startswith("PUT") and what in proxy.requests[-1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        with pytest.raises(StoreError, match=f"^{told}; let the key AWS_ACCESS_KEY_ID list, read, write and delete"):
            put(store, "media", "b2", [media("m2")])


def test_a_bucket_that_goes_away_is_told_by_every_command(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("features.store.store.check_place", lambda _: None)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert main(["--store", store.root, "status"]) == 3
    assert re.search(r"^triptych: the store's bucket does not .*; see to AWS_ENDPOINT_URL", capsys.readouterr().err)


def test_an_endpoint_that_is_down_is_told(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="see to AWS_ENDPOINT_URL and the connection"):
        Store.open(place)


def test_plain_http_must_be_allowed(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(StoreError, match="not encrypted; use https, or set AWS_ALLOW_HTTP=true"):
        Store.create(place)
