"""The quickstart, as a script and as a notebook: both run, and make what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from features.fusion.checkpoint import load_model
from features.store import Store, read_table
from features.store.models import find_model, list_models, model_folder

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT, NOTEBOOK = EXAMPLES / "quickstart.py", EXAMPLES / "quickstart.ipynb"
NUM_CLIPS = 32


def test_the_notebook_is_made_of_the_script() -> None:
    """`python examples/notebook.py` writes it anew."""
    made = subprocess.run(
        [
            sys.executable,
            "-c",
            "import notebook; print(notebook.notebook_of(notebook.SCRIPT.read_text('utf-8')), end='')",
        ],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout == NOTEBOOK.read_text(encoding="utf-8")


def test_the_notebook_is_valid_and_holds_no_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert sum(cell.cell_type == "markdown" for cell in notebook.cells) > 5


def test_videos_without_labels_are_refused(tmp_path: Path) -> None:
    done = _run(tmp_path, "--videos", "videos")
    assert done.returncode == 2
    assert "--labels" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the script has run."""
    place = tmp_path_factory.mktemp("quickstart")
    done = _run(place)
    assert done.returncode == 0, done.stderr
    assert "new.mp4 is glad by video, audio, text" in done.stdout
    return place / "quickstart"


@pytest.mark.slow
def test_the_script_makes_tables_a_model_scores_and_a_report(folder: Path) -> None:
    store = Store.open(str(folder / "store"))
    for name in ("efficientnet_lite0", "mfcc", "minilm"):
        assert len(set(read_table(store, f"features/{name}@1")["media_id"].to_pylist())) == NUM_CLIPS
    ref = find_model(store, "mood")
    first = load_model(model_folder(store, ref)).comparison.first
    assert first.fused.test.accuracy is not None
    assert first.majority.accuracy is not None
    assert first.fused.test.accuracy > first.majority.accuracy
    _check_scores(store, ref.table)
    assert "mood" in (folder / "report.html").read_text(encoding="utf-8")


def _check_scores(store: Store, table: str) -> None:
    """Each clip has a score, and most of them are right."""
    truth = {row["media_id"]: row["class"] for row in read_table(store, "labels/mood").to_pylist()}
    told = {row["media_id"]: row["prediction"] for row in read_table(store, table).to_pylist()}
    assert told.keys() == truth.keys()
    assert sum(told[media_id] == truth[media_id] for media_id in truth) > 0.75 * NUM_CLIPS


@pytest.mark.slow
def test_the_notebook_runs_and_goes_on_in_the_same_folder(folder: Path) -> None:
    """A second run ingests and extracts nothing, and registers another model."""
    store = Store.open(str(folder / "store"))
    before = {name: store.load(name).version() for name in ("frames", "audio", "features/mfcc@1")}
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder.parent}}
    )
    client.execute(env={**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1"})
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert "new.mp4 is glad" in printed
    assert {name: store.load(name).version() for name in before} == before
    assert [ref.version for ref in list_models(store) if ref.name == "mood"] == [1, 2]


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words], cwd=folder, capture_output=True, text=True, check=False, timeout=900
    )
