"""Buckets: what opens them, and what is wrong with them in words."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from features.errors import StoreError
from features.store.storage import SCHEME

if TYPE_CHECKING:
    from pathlib import Path

_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_ATTEMPTS = 3
"""Of botocore; s3fs tries again what still fails after them."""
_BY_CODE = {
    "NoSuchBucket": "make the bucket, or name another with --store",
    "404": "make the bucket, or name another with --store",
    "InvalidBucketName": "name another bucket with --store",
    "AccessDenied": "let the key AWS_ACCESS_KEY_ID list, read, write and delete there",
    "403": "let the key AWS_ACCESS_KEY_ID list, read, write and delete there",
    "InvalidAccessKeyId": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key that the endpoint knows",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is not the secret of AWS_ACCESS_KEY_ID: set both",
    "ExpiredToken": "AWS_SESSION_TOKEN has expired: get a new one",
    "InvalidToken": "AWS_SESSION_TOKEN is wrong: get a new one, or unset it",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it (more than 15 minutes are refused)",
    "AuthorizationHeaderMalformed": "set AWS_REGION to the bucket's region",
    "PermanentRedirect": "set AWS_REGION to the bucket's region",
}
_BY_KIND = {
    "NoCredentialsError": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "PartialCredentialsError": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, both",
}
_CODE = re.compile(r"<Code>(\w+)</Code>")
"""In what deltalake says of an answer, which is the answer."""
_LIBRARIES = ("aiohttp", "aiobotocore", "botocore")
_OTHERWISE = "see to AWS_ENDPOINT_URL and the connection, then run again"


def path_of(root: str) -> Path:
    """A prefix of a bucket, which acts as a folder.

    Raises:
        StoreError: What opens it is not installed.
    """
    try:
        from features.store.s3_system import BucketPath
    except ImportError as error:
        message = f"what opens the store {root!r} is not installed; install it: pip install 'triptych[s3]'"
        raise StoreError(message) from error
    return cast("Path", BucketPath(root, **_options()))


def probe(root: str) -> None:
    """Ask for a bucket once.

    Raises:
        StoreError: It is not there, or may not be listed, or does not answer.
    """
    endpoint = _endpoint()
    allowed = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("true", "1", "yes", "on")
    if endpoint.startswith("http://") and not allowed:
        message = f"AWS_ENDPOINT_URL is {endpoint!r}, which is not encrypted; use https, or set AWS_ALLOW_HTTP=true"
        raise StoreError(message)
    bucket, _, prefix = root.removeprefix(SCHEME).partition("/")
    if not bucket:
        message = f"the store {root!r} names no bucket; write --store s3://BUCKET/PREFIX"
        raise StoreError(message)
    try:
        cast("Any", path_of(root)).fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except (OSError, ValueError) as error:  # a ValueError where a name or an endpoint is not well-formed
        message = f"cannot open the store {root!r} ({said(error)}); {remedy_of(error)}"
        raise StoreError(message) from error


def said(error: BaseException) -> str:
    """What an error says, on one line."""
    cause = error.__cause__ if _code_of(error) in ("403", "404") else None
    return " ".join(str(cause or error).split()) or type(error).__name__


def remedy_of(error: BaseException) -> str:
    """What to do about an error of a bucket."""
    kinds = [type(one).__name__ for one in (error, error.__cause__) if one is not None]
    by_kind = next((_BY_KIND[kind] for kind in kinds if kind in _BY_KIND), None)
    return by_kind or _BY_CODE.get(_code_of(error), _OTHERWISE)


def trouble_of(error: OSError) -> StoreError | None:
    """An error of a bucket in words, wherever it was met; None where it is not of a bucket."""
    kinds = (type(one).__module__.partition(".")[0] for one in (error, error.__cause__) if one is not None)
    if not any(kind in _LIBRARIES for kind in kinds):
        return None
    return StoreError(f"the store's bucket does not do as asked ({said(error)}); {remedy_of(error)}")


def arrow_system() -> Any:  # noqa: ANN401 - pyarrow states no types
    """The file system that reads Parquet from buckets."""
    return _arrow_system(os.getpid(), _endpoint(), _region())


@lru_cache(maxsize=2)
def _arrow_system(pid: int, endpoint: str, region: str) -> Any:  # noqa: ANN401 - pyarrow states no types
    from pyarrow.fs import S3FileSystem

    del pid  # connections must not be shared with a process that this one was forked from
    scheme, _, host = endpoint.rpartition("://")
    given = {"endpoint_override": host, "scheme": scheme or "https"} if endpoint else {}
    times = {"connect_timeout": _CONNECT_SECONDS, "request_timeout": _READ_SECONDS}
    return S3FileSystem(**given, **times, **({"region": region} if region else {}))


def _endpoint() -> str:
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    return named.rstrip("/")


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""


def _options() -> dict[str, Any]:
    """For s3fs, which keeps one client for each set of options."""
    config = {
        "retries": {"max_attempts": _ATTEMPTS, "mode": "standard"},
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": _READ_SECONDS,
    }
    client = {"region_name": _region() or None, "endpoint_url": _endpoint() or None}
    named = {name: value for name, value in client.items() if value}
    return {"use_listings_cache": False, "config_kwargs": config, "client_kwargs": named}  # others write there, too


def _code_of(error: BaseException) -> str:
    for one in (error, error.__cause__):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    named = _CODE.search(str(error))
    return named[1] if named else ""
