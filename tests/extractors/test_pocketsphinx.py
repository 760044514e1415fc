"""Speech recognition: silence and tones give no text, speech gives words with their times."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import librosa
import numpy as np
import pytest
import soundfile

from features.extractors.pocketsphinx import PocketSphinx, PocketSphinxModel
from features.records import Utterance
from tests.benchmarks.quality_asr import word_errors, words_of
from tests.extractors.making import chunks_of, media, run, sine

if TYPE_CHECKING:
    import numpy.typing as npt

SPEECH = Path(__file__).parents[3] / "shared" / "data" / "asr"
FILES = ("jfk.flac", "LJ001-0002.wav", "spk1_snt3.wav", "spk1_snt5.wav")

needs_speech = pytest.mark.skipif(not SPEECH.is_dir(), reason="no shared data folder")


@pytest.fixture(scope="module")
def model() -> PocketSphinxModel:
    return PocketSphinx().load("cpu")


def _speech(name: str) -> npt.NDArray[np.float32]:
    samples, rate = soundfile.read(SPEECH / name, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    return np.asarray(librosa.resample(mono, orig_sr=rate, target_sr=16_000), np.float32)


def _hear(samples: npt.NDArray[np.float32], model: PocketSphinxModel, start_us: int = 0) -> list[Utterance]:
    audio = chunks_of(samples, start_us=start_us)
    (result,) = run(PocketSphinx(), [media(audio=audio)], model=model)
    assert result.status == ("ok" if result.rows else "empty")
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
def test_what_is_no_speech_gives_no_text(model: PocketSphinxModel, samples: npt.NDArray[np.float32]) -> None:
    assert _hear(samples, model) == []


def test_no_sound_is_absent(model: PocketSphinxModel) -> None:
    (result,) = run(PocketSphinx(), [media(has="video")], model=model)
    assert result.status == "absent"


def test_the_model_can_be_weakly_referenced_as_beam_needs(model: PocketSphinxModel) -> None:
    assert weakref.ref(model)() is model


@pytest.mark.data
@needs_speech
def test_word_error_rate_on_read_english(model: PocketSphinxModel) -> None:
    with (SPEECH / "transcripts.csv").open() as file:
        transcripts = {row["file"]: words_of(row["transcript"]) for row in csv.DictReader(file)}
    rates = []
    for name in FILES:
        utterances = _hear(_speech(name), model)
        heard = [word for utterance in utterances for word in words_of(utterance.text)]
        rates.append(word_errors(transcripts[name], heard) / len(transcripts[name]))
        if name == "jfk.flac":
            assert "country" in heard
    assert np.mean(rates) <= 0.35


@pytest.mark.data
@needs_speech
def test_words_have_times_on_the_timeline_and_no_fillers(model: PocketSphinxModel) -> None:
    speech = _speech("spk1_snt5.wav")
    start_us = 7_300_000
    late, early = _hear(speech, model, start_us), _hear(speech, model)
    assert [utterance.text for utterance in late] == [utterance.text for utterance in early]
    for utterance in late:
        assert (utterance.source, utterance.language, utterance.speaker) == ("asr:pocketsphinx", "en", None)
        assert utterance.text == " ".join(word.word for word in utterance.words)
        assert not re.search(r"[<>\[\]()+]", utterance.text)
        times = [time for word in utterance.words for time in (word.start_us, word.end_us)]
        assert times == sorted(times)
        assert start_us <= utterance.start_us <= times[0]
        assert times[-1] <= utterance.end_us <= start_us + len(speech) * 1_000_000 // 16_000 + 1
        assert all(word.confidence is not None and 0 <= word.confidence <= 1 for word in utterance.words)


@pytest.mark.data
@needs_speech
def test_what_came_before_changes_nothing(model: PocketSphinxModel) -> None:
    loud = media("loud", audio=chunks_of(np.clip(5 * _speech("spk1_snt1.wav"), -1, 1)))
    target = media("target", audio=chunks_of(_speech("spk1_snt3.wav")))
    alone = run(PocketSphinx(), [target], model=model)
    after = run(PocketSphinx(), [loud, target], model=model, batch_size=7)
    assert after[1] == alone[0]


@pytest.mark.data
@needs_speech
def test_long_speech_is_cut(model: PocketSphinxModel) -> None:
    name = "LJ001-0005.wav"
    begin_end = model.stretches(np.tile(_speech(name), 4))
    assert max(end - begin for begin, end in begin_end) <= 15.1 * 16_000


@pytest.mark.data
@needs_speech
def test_it_prints_nothing() -> None:
    code = (
        "import sys; import soundfile; from features.extractors.pocketsphinx import PocketSphinx\n"
        "from features.extractors.rows import SoundWindow\n"
        f"samples, _ = soundfile.read({str(SPEECH / 'spk1_snt3.wav')!r}, dtype='float32')\n"
        "recogniser = PocketSphinx()\n"
        "recogniser(recogniser.load('auto'), [SoundWindow(0, 1, samples)])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
