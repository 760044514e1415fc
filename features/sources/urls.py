"""URLs as names of sources: which there are, and what must not stand in one."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from features.errors import ConfigError

HTTP = ("http", "https")
OBJECT_STORES = ("s3", "gs")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_SIGNED = frozenset(
    {"x-amz-signature", "x-goog-signature", "signature", "sig", "awsaccesskeyid", "access_token", "token"}
)
_LONGEST_NAME_BYTES = 200


def is_url(name: str) -> bool:
    """Whether a source is named by a URL, of whatever kind; all else is a local path."""
    return _SCHEME.match(name) is not None


def protocol_of(url: str) -> str:
    """The scheme, in small letters; empty of a local path."""
    found = _SCHEME.match(url)
    return found[1].lower() if found else ""


def is_http(url: str) -> bool:
    """Whether a web server has it."""
    return protocol_of(url) in HTTP


def check_url(url: str) -> str:
    """A URL that may be stored and logged.

    Raises:
        ConfigError: Its scheme is not read, or it holds credentials; they are not echoed.
    """
    scheme = protocol_of(url)
    if scheme not in (*HTTP, *OBJECT_STORES):
        message = f"sources of {scheme}:// are not read; use {', '.join(f'{s}://' for s in (*OBJECT_STORES, *HTTP))}"
        raise ConfigError(message)
    rest = url.partition("://")[2]
    if scheme in OBJECT_STORES:
        if not rest.strip("/") or "@" in rest.partition("/")[0]:
            message = f"{hidden(url)!r} names no bucket; write {scheme}://BUCKET/PREFIX, credentials by the environment"
            raise ConfigError(message)
        return f"{scheme}://{rest}"
    parts = urlsplit(url)
    if "@" in parts.netloc:
        message = (
            f"the URL {hidden(url)!r} holds a user or a password, which would be stored with its rows; take them out, "
            "and set TRIPTYCH_HTTP_AUTHORIZATION='HOST VALUE' (VALUE as of the header Authorization)"
        )
        raise ConfigError(message)
    signed = sorted(name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if name.lower() in _SIGNED)
    if signed:
        message = (
            f"the URL {hidden(url)!r} is signed ({', '.join(signed)}), and its signature would be stored; name the "
            "object itself (s3://, gs://) and give credentials by the environment"
        )
        raise ConfigError(message)
    if not parts.hostname:
        message = f"the URL {hidden(url)!r} names no host; write https://HOST/PATH"
        raise ConfigError(message)
    return parts._replace(scheme=scheme, fragment="").geturl()


def hidden(url: str) -> str:
    """A URL without what may be secret: user, password, and query."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def name_of(url: str) -> str:
    """Name of the file that a URL is of, safe as a name in a folder; the suffix is kept."""
    path = urlsplit(url).path if is_http(url) else url.partition("://")[2].partition("/")[2]
    name = path.rstrip("/").rpartition("/")[2]
    name = (unquote(name) if is_http(url) else name).replace("\0", "_").replace("/", "_")
    cut = name.encode("utf-8", "replace")[-_LONGEST_NAME_BYTES:].decode("utf-8", "ignore")
    return cut if cut not in ("", ".", "..") else "source"
