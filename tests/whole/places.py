"""Where a store of a whole run lies: in a folder, or in a bucket of a local server.

`python -m tests.whole.places MODEL ROOT` gives a model to a store in a bucket that has none yet, its mark last.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from features.store.marker import MARKER
from features.store.storage import is_url, place_of, put_bytes, put_file
from tests.store.s3_server import BUCKET, ENVIRONMENT, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARK = "model.json"


@contextmanager
def bucket() -> Iterator[str]:
    """The root of a bucket that is served, and that the environment names, as long as it lasts."""
    before = dict(os.environ)
    with serving() as url:
        os.environ.update(ENVIRONMENT, AWS_ENDPOINT_URL=url)
        try:
            yield f"s3://{BUCKET}"
        finally:
            os.environ.clear()
            os.environ.update(before)


def is_store(root: str) -> bool:
    """Whether a store has been made there."""
    return (place_of(root) / MARKER).is_file()


def num_files(root: str) -> int:
    """Files of a store, or objects, by listing them."""
    if not is_url(root):
        return sum(len(files) for _, _, files in os.walk(root))
    place = place_of(root)
    return len(place.fs.find(str(place)))  # type: ignore[attr-defined] # it is a UPath


def copy_store(folder: Path, root: str) -> None:
    """Copy the files of a store to where there is none."""
    if not is_url(root):
        shutil.copytree(folder, root)
        return
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            put_file(path, place_of(root) / path.relative_to(folder).as_posix())


def model_command(models: Path, root: str) -> str:
    """Shell text that gives a folder of models to a store that has none yet, whole or not at all."""
    if is_url(root):
        return shlex.join([sys.executable, "-m", "tests.whole.places", str(models), root])
    there, beside = shlex.quote(f"{root}/models"), shlex.quote(f"{root}/.models")
    copy = f"cp -r {shlex.quote(str(models))} {beside}.$$ && mv -T {beside}.$$ {there}"
    return f"{{ [ -d {there} ] || {{ {copy}; }}; }}"


def put_models(models: Path, root: str) -> None:
    """Put what is not there of a folder of models; where its mark stands, a model is whole."""
    for mark in sorted(models.rglob(_MARK)):
        folder = place_of(root) / "models" / mark.parent.relative_to(models).as_posix()
        if not (folder / _MARK).exists():
            for path in sorted(mark.parent.iterdir(), key=lambda path: path.name == _MARK):
                put_bytes(folder / path.name, path.read_bytes())


if __name__ == "__main__":
    put_models(Path(sys.argv[1]), sys.argv[2])
