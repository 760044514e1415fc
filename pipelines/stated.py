"""Labels that sources bring with them: the columns of manifests, and folders that are named after classes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.samples.labels import Stated, StatedLabels, state_labels, stated_in
from features.samples.manifest import read_manifest
from pipelines.manifests import split_manifests
from pipelines.sources import list_sources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from features.store import Store
    from pipelines.options import IngestConfig

_FOLDER = re.compile(r"folder(?::([A-Za-z0-9_-]+))?")
_USUAL_TASK = "class"


def check_labels_from(text: str) -> str:
    """The task that folders are labels of, by `--labels-from`; empty where they are none.

    Raises:
        ConfigError: It says something else.
    """
    found = _FOLDER.fullmatch(text)
    if text and found is None:
        message = f"labels_from must be folder or folder:TASK (letters, digits, _ and -), not {text!r}"
        raise ConfigError(message)
    return (found[1] or _USUAL_TASK) if found else ""


def brings_labels(config: IngestConfig) -> bool:
    """Whether the sources of a run may bring labels with them."""
    return bool(config.labels_from or split_manifests(config.sources)[1])


def state_listed(config: IngestConfig, store: Store, run_id: str) -> StatedLabels:
    """Write the labels that the sources of a run bring with them.

    It is done each time, for a run may have been killed between its media and its labels; where the store says all of
    it, nothing is written.

    Raises:
        ConfigError: A manifest cannot be read.
        StoreError: A table cannot be read or written.
    """
    if not store.batches("media"):
        return StatedLabels()
    done = [
        state_labels(store, path, stated, run_id=run_id)
        for path in split_manifests(config.sources)[1]
        if (stated := stated_in(read_manifest(path).rows))
    ]
    task = check_labels_from(config.labels_from)
    for folder in _folders(config) if task else ():
        stated = list(_by_folder(config, store, folder, task))
        if stated:
            done.append(state_labels(store, folder, stated, run_id=run_id, only_classes=True))
    return _sum(done)


def _folders(config: IngestConfig) -> list[Path]:
    return [path for path in (Path(source).expanduser() for source in config.sources) if path.is_dir()]


def _by_folder(config: IngestConfig, store: Store, root: Path, task: str) -> Iterator[Stated]:
    """Labels of the files under a folder: the folder that a file lies in, unless it is the first one itself."""
    top = os.path.abspath(root)  # noqa: PTH100 - as the sources are listed, without resolving links
    for source in list_sources([str(root)], store=store.root, also=config.also):
        folder = os.path.dirname(source.uri)  # noqa: PTH120 - there may be a million
        if folder != top:
            name = os.path.basename(folder)  # noqa: PTH119
            yield Stated(f"folder {name!r}", source.uri, task, name)


def _sum(done: list[StatedLabels]) -> StatedLabels:
    return StatedLabels(
        sum(one.num_labels for one in done),
        sum(one.num_changed for one in done),
        tuple(reason for one in done for reason in one.left_out),
        tuple(conflict for one in done for conflict in one.conflicts),
    )
