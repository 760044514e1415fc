"""The example of EXTENDING.md: its package is built, installed, listed, run and, where it fails, named."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features.records import AudioChunk, Frame
from features.store import Store, commit_files, write_file
from features.store.read import read_table
from features.store.rows import audio_rows, frame_rows, table_of
from tests.extractors.making import chunks_of, frames_of, picture, sine
from tests.store.making import media

EXAMPLE = Path(__file__).with_name("plugin")
ROOT = EXAMPLE.parents[2]
BATCH = "20260101T000000-000000000000"
DOCUMENT = ROOT / "features" / "extractors" / "EXTENDING.md"
FAULTY = """

@from_function("faulty", modality="video", shape=(1,))
def faulty(picture: np.ndarray) -> list[float]:
    raise ZeroDivisionError("no luck with this picture")
"""


@dataclass(frozen=True)
class Installed:
    """A place where the example is installed, with one more extractor that always raises."""

    folder: Path

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        places = {"PYTHONPATH": os.pathsep.join([str(self.folder), str(ROOT)])}
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **places}
        )

    def triptych(self, *arguments: str) -> str:
        done = self.python("-m", "flows.cli", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    source, target = tmp_path_factory.mktemp("source") / "example", tmp_path_factory.mktemp("installed")
    shutil.copytree(EXAMPLE, source)
    module = source / "triptych_example" / "level.py"
    module.write_text(module.read_text(encoding="utf-8") + FAULTY, encoding="utf-8")
    project = source / "pyproject.toml"
    entry = 'level = "triptych_example.level:level"\n'
    stated = project.read_text(encoding="utf-8")
    assert entry in stated
    project.write_text(stated.replace(entry, entry + entry.replace("level =", "faulty =").replace(":level", ":faulty")))
    offline = ("--quiet", "--no-index", "--no-build-isolation", "--no-deps", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return Installed(target)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two media of three pictures and two seconds and a half of sound."""
    store = Store.create(tmp_path_factory.mktemp("store") / "store")
    parts = [
        (
            hashlib.blake2b(bytes([n]), digest_size=16).hexdigest(),
            frames_of(map(_shade, range(3))),
            chunks_of(sine(2.5)),
        )
        for n in range(2)
    ]
    for table, rows in _tables(parts).items():
        commit_files(store, table, [write_file(store, table, BATCH, rows)], stage="ingest")
    return store


def _shade(index: int) -> np.ndarray:
    """Black, white, and random patches."""
    return picture(index) if index == 2 else np.full((48, 64, 3), 255 * index, np.uint8)


def _tables(parts: list[tuple[str, tuple[Frame, ...], tuple[AudioChunk, ...]]]) -> dict[str, pa.Table]:
    return {
        "frames": pa.concat_tables([frame_rows(media_id, frames) for media_id, frames, _ in parts]),
        "audio": pa.concat_tables([audio_rows(media_id, audio) for media_id, _, audio in parts]),
        "media": table_of("media", [media(part[0], has_video=True, has_audio=True, has_text=False) for part in parts]),
    }


@pytest.mark.parametrize("path", sorted(path for path in EXAMPLE.rglob("*.*") if "__pycache__" not in path.parts))
def test_the_document_holds_the_package_word_for_word(path: Path) -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    name = re.escape(path.relative_to(EXAMPLE).as_posix())
    (found,) = re.findall(rf"^`{name}`:\n\n```\w+\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    assert found == path.read_text(encoding="utf-8")


def test_it_is_listed(installed: Installed) -> None:
    listed = {row["name"]: row for row in json.loads(installed.triptych("features", "--json"))}
    assert (listed["level"]["modality"], listed["level"]["shape"]) == ("audio", [2])
    assert listed["colours"]["licence"] == "CC0-1.0"
    assert "level@1" in installed.triptych("features")


def test_it_fills_tables_and_what_raises_is_named_with_its_package(installed: Installed, store: Store) -> None:
    run = ("extract", "level", "colours", "faulty", "--runner", "in-process", "--device", "cpu")
    installed.triptych("--store", store.root, *run)
    colours = _rows(store, "features/colours@1")
    assert len(colours) == 6
    np.testing.assert_allclose(colours.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(colours[:2], [[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]], atol=1e-6)
    levels = _rows(store, "features/level@1")
    assert levels.shape == (10, 2)
    np.testing.assert_allclose(levels, [[10 * np.log10(0.3**2 / 2), 20 * np.log10(0.3)]] * 10, atol=0.1)
    letters = json.loads(installed.triptych("--store", store.root, "failures", "--json"))
    told = json.dumps(letters)
    assert told.count("no luck with this picture (in the extractor 'faulty' of the package 'triptych-example')") >= 2
    assert "ZeroDivisionError" in told


def _rows(store: Store, table: str) -> np.ndarray:
    rows: Any = read_table(store, table).sort_by([("media_id", "ascending"), ("start_us", "ascending")])
    return np.array(rows["values"].to_pylist())


def test_other_weights_are_refused_with_the_package_to_install(installed: Installed, tmp_path: Path) -> None:
    other = tmp_path / "installed"
    shutil.copytree(installed.folder, other)
    weights = other / "triptych_example" / "colours.csv"
    code = "from features.extractors.registry import get_extractor; get_extractor('colours').load('cpu')"
    weights.write_text("red,green,blue\n1,2,3\n", encoding="utf-8")
    assert "have the fingerprint" in Installed(other).python("-c", code).stderr
    weights.unlink()
    assert "install them with: pip install triptych-example" in Installed(other).python("-c", code).stderr
