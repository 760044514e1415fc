"""Objects of stores that fsspec opens: looked at, and read from any place on. All settings are the environment's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from features.errors import ConfigError, FetchError
from features.sources.look import Interrupted, Look, microseconds_of, words_of
from features.sources.urls import protocol_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_BLOCK_BYTES = 8 << 20
_TIMES = ("LastModified", "mtime", "last_modified", "updated", "created")
_TAGS = ("ETag", "etag", "md5Hash", "checksum")
_VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE; FSSPEC_S3_ANON=true for a public bucket",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS; FSSPEC_GS_TOKEN=anon for a public bucket",
}
_SKEWED = ("RequestTimeTooSkewed", "difference between the request time")


class ForbiddenError(FetchError):
    """An object or a list of them may not be read with the credentials that there are."""


def filesystem(url: str) -> Any:  # noqa: ANN401 - fsspec has no types
    """The file system of a URL; credentials and end points come from the environment.

    Raises:
        ConfigError: What it needs is not installed.
    """
    import fsspec

    protocol = protocol_of(url)
    try:
        return fsspec.filesystem(protocol, use_listings_cache=False)
    except ImportError as error:
        message = f"{url!r} needs a library that is not installed ({error}); pip install 'triptych[{protocol}]'"
        raise ConfigError(message) from error


def look_at_object(url: str) -> Look:
    """Ask for an object's size, time and tag.

    Raises:
        FetchError: It is not there, is a folder, may not be read, or its host does not answer.
    """
    system = filesystem(url)
    with telling(url):
        return look_of(url, system.info(url))


def look_of(url: str, info: dict[str, Any]) -> Look:
    """What fsspec tells of an object.

    Raises:
        FetchError: It is a folder.
    """
    if info.get("type") == "directory":
        message = f"{url!r} is a folder; end it with a slash to have it searched"
        raise FetchError(message)
    tag = next((str(info[name]) for name in _TAGS if info.get(name)), "")
    stated = next((info[name] for name in _TIMES if info.get(name)), None)
    return Look(int(info.get("size") or 0), microseconds_of(stated), tag.strip('"'))


def read_object(url: str, offset: int, seen: Look) -> Generator[bytes]:
    """An object's bytes from an offset on, a block a request.

    Raises:
        FetchError: As `look_at_object`.
        Interrupted: The connection broke off.
    """
    system = filesystem(url)
    for start in range(offset, seen.size_bytes, _BLOCK_BYTES):
        with telling(url, passing=True):
            block = system.cat_file(url, start=start, end=min(start + _BLOCK_BYTES, seen.size_bytes))
        yield block
        if len(block) < min(_BLOCK_BYTES, seen.size_bytes - start):
            return


@contextmanager
def telling(url: str, *, passing: bool = False) -> Iterator[None]:
    """Tell what an object store says, with the remedy.

    Args:
        url: The object.
        passing: What may pass is `Interrupted`, and tried again.
    """
    try:
        yield
    except FetchError:
        raise
    except FileNotFoundError as error:
        message = f"{url!r} is not there ({words_of(error)}); check the bucket and the name"
        raise FetchError(message) from error
    except Exception as error:  # botocore's and aiohttp's errors share no base
        words = words_of(error)
        if isinstance(error, PermissionError) or "credential" in words.lower() or any(map(words.count, _SKEWED)):
            raise ForbiddenError(_forbidden(url, words)) from error
        if passing:
            raise Interrupted(words) from error
        where = " and AWS_ENDPOINT_URL is right" if protocol_of(url) == "s3" else ""
        message = f"cannot read {url!r} ({words}); see whether its host answers{where}, then run again"
        raise FetchError(message) from error


def _forbidden(url: str, words: str) -> str:
    if any(map(words.count, _SKEWED)):
        return f"cannot read {url!r} ({words}); set this machine's clock right"
    variables = _VARIABLES.get(protocol_of(url), "")
    return f"may not read {url!r} ({words}); credentials come from the environment ({variables})"
