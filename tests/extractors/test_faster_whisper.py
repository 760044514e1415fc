"""`faster_whisper` against faster-whisper called directly, with a small Whisper model of random weights.

What a random model hears means nothing; where it listens, and what becomes of it, does.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from features.errors import ExtractionError, TranscriptionError
from features.extractors.faster_whisper import FasterWhisper, FasterWhisperModel
from features.extractors.pocketsphinx import PocketSphinx
from features.extractors.registry import get_extractor
from features.records import Utterance
from tests.extractors import tiny_models as tiny
from tests.extractors.making import chunks_of, media, run, sine

if TYPE_CHECKING:
    import numpy.typing as npt

SPEECH = Path(__file__).parents[3] / "shared" / "data" / "asr"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("faster_whisper") is None,
    reason="faster-whisper is not installed: pip install 'triptych[whisper]'",
)
needs_speech = pytest.mark.skipif(not SPEECH.is_dir(), reason="no shared data folder")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.whisper_for_ctranslate2(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def model(folder: Path) -> FasterWhisperModel:
    return FasterWhisper(str(folder)).load("cpu")


def speech(name: str) -> npt.NDArray[np.float32]:
    import librosa
    import soundfile

    samples, rate = soundfile.read(SPEECH / name, dtype="float32", always_2d=True)
    return np.asarray(librosa.resample(samples.mean(axis=1), orig_sr=rate, target_sr=16_000), np.float32)


def hear(
    samples: npt.NDArray[np.float32], folder: Path, model: FasterWhisperModel, start_us: int = 0
) -> list[Utterance]:
    (result,) = run(FasterWhisper(str(folder)), [media(audio=chunks_of(samples, start_us=start_us))], model=model)
    assert result.status == ("ok" if result.rows else "empty"), result.message
    return [row for row in result.rows if isinstance(row, Utterance)]


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(48_000, np.float32),
        sine(3),
        np.random.default_rng(0).normal(0, 0.05, 48_000).astype(np.float32),
        np.zeros(100, np.float32),
    ],
    ids=["silence", "sine", "noise", "shorter than a frame"],
)
def test_what_is_no_speech_gives_no_text(
    folder: Path, model: FasterWhisperModel, samples: npt.NDArray[np.float32]
) -> None:
    assert hear(samples, folder, model) == []


@needs_speech
def test_a_stretch_gives_what_faster_whisper_gives(folder: Path, model: FasterWhisperModel) -> None:
    samples = np.concatenate([np.zeros(32_000, np.float32), speech("LJ001-0002.wav"), np.zeros(16_000, np.float32)])
    (found,) = hear(samples, folder, model, start_us=5_000_000)
    begin, end = round((found.start_us - 5_000_000) * 0.016), round((found.end_us - 5_000_000) * 0.016)
    stretch = np.round(samples * 32767).astype(np.int16)[begin:end] / np.float32(32768)
    segments, _ = model.recogniser.transcribe(
        stretch.astype(np.float32), temperature=0.0, condition_on_previous_text=False, word_timestamps=True
    )
    expected = list(segments)
    assert found.text == " ".join("".join(segment.text for segment in expected).split())
    assert (found.source, found.language) == ("asr:faster_whisper", "en")
    assert found.words
    assert len(found.words) == sum(bool(word.word.strip()) for segment in expected for word in segment.words)
    for word in found.words:
        assert found.start_us <= word.start_us <= word.end_us <= found.end_us
        assert 0 <= word.confidence <= 1


@needs_speech
def test_it_listens_where_pocketsphinx_does(model: FasterWhisperModel) -> None:
    samples = np.tile(np.concatenate([speech("jfk.flac"), np.zeros(24_000, np.float32)]), 2)
    assert model._detector(samples) == PocketSphinx().load("cpu").stretches(samples)


@needs_speech
def test_what_was_heard_before_changes_nothing(folder: Path, model: FasterWhisperModel) -> None:
    samples = speech("spk1_snt3.wav")
    alone = hear(samples, folder, model)
    hear(speech("jfk.flac"), folder, model)
    assert hear(samples, folder, model) == alone
    assert hear(samples, folder, FasterWhisper(str(folder)).load("cpu")) == alone


def test_the_spec_says_what_it_is(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "faster-whisper-Tiny.en")
    spec = get_extractor(f"faster_whisper:{copy}").spec
    assert (spec.name, spec.output, spec.inputs) == ("faster_whisper_tiny_en", "transcripts", "audio")
    assert (spec.licence, spec.made_by) == ("unstated AND MIT", f"faster_whisper:{copy}")
    with (copy / "tokenizer.json").open("a", encoding="utf-8") as file:
        file.write(" ")
    assert get_extractor(f"faster_whisper:{copy}").spec.weights_fingerprint != spec.weights_fingerprint


def test_a_folder_that_is_not_whole_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "cut")
    with (copy / "model.bin").open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(TranscriptionError, match=r"cannot load the model in '.*cut'.*fetch it again"):
        FasterWhisper(str(copy)).load("cpu")
    (copy / "tokenizer.json").unlink()
    with pytest.raises(TranscriptionError, match=r"no 'tokenizer\.json' in '.*cut'.*ct2-transformers-converter"):
        FasterWhisper(str(copy))


def test_without_the_package_it_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "faster_whisper" else real(name))
    with pytest.raises(ExtractionError, match=r"no package 'faster_whisper'.*pip install 'triptych\[whisper\]'"):
        FasterWhisper(str(folder))
