"""`[storage]` of the TOML file: how buckets are reached. The environment wins, and keys stand nowhere else."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE = "storage"


class _Key(NamedTuple):
    """A key of the table: the type of its value, and the variables that it stands for; any of them wins over it."""

    kind: type
    variables: tuple[str, ...]


_KEYS = {
    "endpoint_url": _Key(str, ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")),
    "region": _Key(str, ("AWS_REGION", "AWS_DEFAULT_REGION")),
    "profile": _Key(str, ("AWS_PROFILE",)),
    "allow_http": _Key(bool, ("AWS_ALLOW_HTTP",)),
}
_SECRETS = ("key", "secret", "token", "password", "credential")


def apply_storage(given: object) -> None:
    """Set the variables of the environment that the table names, where they are not set; child processes get them.

    Args:
        given: The table `[storage]` of the TOML file: endpoint_url, region, profile, allow_http.

    Raises:
        ConfigError: It is no table, a key is unknown or holds a credential, or a value has the wrong type.
    """
    if not isinstance(given, dict):
        message = f"{TABLE!r} must be a table, not {given!r}; it takes {', '.join(_KEYS)}"
        raise ConfigError(message)
    for name, text in _checked(given).items():
        variables = _KEYS[name].variables
        if not any(os.environ.get(variable) for variable in variables):
            os.environ[variables[0]] = text


def _checked(given: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name, value in given.items():
        if name not in _KEYS:
            raise _unknown(name)
        kind = _KEYS[name].kind
        if not isinstance(value, kind):
            message = f"{name} in [{TABLE}] must be {kind.__name__}, not {value!r}"
            raise ConfigError(message)
        found[name] = str(value).lower() if kind is bool else str(value)
    return found


def _unknown(name: str) -> ConfigError:
    if any(word in name.lower() for word in _SECRETS):
        message = f"{name!r} in [{TABLE}]: credentials are taken from the environment alone; take it out of the file,"
        return ConfigError(f"{message} and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile")
    near = difflib.get_close_matches(name, _KEYS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(_KEYS)}"
    return ConfigError(f"unknown key {name!r} in [{TABLE}]; {hint}")
