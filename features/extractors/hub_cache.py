"""Where a model of the hub lies: in a local folder, or in the hub's cache, into which it is fetched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import ExtractionError
from features.extractors.hub_files import check_finished

if TYPE_CHECKING:
    from collections.abc import Sequence

TAKES = "local folder, or OWNER/NAME or OWNER/NAME@REVISION on the hub"

_CARD = "README.md"
_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


@dataclass(frozen=True, slots=True)
class Located:
    """Where a model lies.

    Attributes:
        folder: Its files.
        name: Last part of its folder or of its name on the hub.
        where: What finds it again: the absolute folder, or its name on the hub.
    """

    folder: Path
    name: str
    where: str

    @property
    def slug(self) -> str:
        """The name as `[a-z0-9_]+`.

        Raises:
            ExtractionError: Nothing of it is left.
        """
        slug = re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")
        if not slug:
            message = f"no letter a to z and no digit in {self.name!r}, which names the table; rename the folder"
            raise ExtractionError(message)
        return slug


def locate(where: str, wanted: Sequence[str]) -> Located:
    """Find the folder of a model; from the hub, fetch what is wanted of it unless it is in the cache already.

    Args:
        where: A local folder, or `owner/name` or `owner/name@revision` on the hub.
        wanted: Names and patterns of files; the model's card is fetched too.

    Raises:
        ExtractionError: There is no such folder or model, or a download was interrupted.
    """
    folder = Path(where).expanduser()
    if folder.is_dir():
        folder = folder.resolve()
        check_finished(folder)
        return Located(folder, folder.name, str(folder))
    match = _NAME.fullmatch(where)
    if match is None:
        message = f"no folder {where!r} here, and it is no name on the hub; give a {TAKES}"
        raise ExtractionError(message)
    repo, revision = match.groups()
    return Located(_snapshot(repo, revision, tuple(wanted)), repo.partition("/")[2], where)


@lru_cache(maxsize=64)
def _snapshot(repo: str, revision: str | None, wanted: tuple[str, ...]) -> Path:
    """A model's folder in the hub's cache, as one process goes on to see it; what is there is not asked for again."""
    from huggingface_hub import constants, snapshot_download

    options: dict[str, Any] = {"revision": revision, "allow_patterns": [*wanted, _CARD], "ignore_patterns": ["*/*"]}
    try:
        found = Path(snapshot_download(repo, local_files_only=True, **options))
        check_finished(found.parents[1])
    except (OSError, ValueError, ExtractionError) as error:
        if constants.HF_HUB_OFFLINE:
            raise ExtractionError(_not_fetched(repo, revision, error)) from error
    else:
        return found
    from httpx2 import HTTPError

    try:
        return Path(snapshot_download(repo, **options))
    except (OSError, ValueError, HTTPError) as error:
        raise ExtractionError(_not_fetched(repo, revision, error)) from error


def _not_fetched(repo: str, revision: str | None, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    asked = f"{repo} --revision {revision}" if revision else repo
    return (
        f"no model {repo!r} in the cache, and it cannot be fetched ({type(error).__name__}: {reason}); fetch it where "
        f"there is a network with: hf download {asked}, or give the folder that holds it"
    )
