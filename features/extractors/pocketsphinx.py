"""`pocketsphinx`: what is said, recognised offline on the stretches that hold speech."""

from __future__ import annotations

import re
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from features.errors import TranscriptionError
from features.extractors.device import limit_threads
from features.extractors.rows import SAMPLE_RATE_HZ, SoundWindow
from features.extractors.speech import SPEECH_PARAMETERS, Recogniser, SpeechDetector
from features.extractors.weights import check_weights, package_folder
from features.identity import MICROSECONDS
from features.records import Utterance, Word
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    Samples = npt.NDArray[np.float32]

_FRAME_US = MICROSECONDS // 100  # the acoustic model's frames
_PCM_MAX = 32767
_ALTERNATE = re.compile(r"\(\d+\)$")
_FILLER = re.compile(r"[<\[+].*")


class PocketSphinxModel:
    """A detector of speech and a decoder, each loaded once.

    Args:
        sphinx: Folder of pocketsphinx's English model.
    """

    def __init__(self, sphinx: Path) -> None:
        from pocketsphinx import Decoder

        self.lock = Lock()  # both keep state, and Beam may call from several threads of a process
        self.detector = SpeechDetector()
        self.decoder = Decoder(
            hmm=str(sphinx / "en-us"),
            lm=str(sphinx / "en-us.lm.bin"),
            dict=str(sphinx / "cmudict-en-us.dict"),
            samprate=SAMPLE_RATE_HZ,
            cmn="batch",  # each stretch by its own mean: what came before must not change what is heard
            loglevel="FATAL",
        )

    def stretches(self, samples: Samples) -> list[tuple[int, int]]:
        """Stretches of speech as indices of samples, `[begin, end)`, cut at pauses where longer than 15 s."""
        return self.detector(samples)

    def words(self, samples: Samples, start_us: int) -> tuple[Word, ...]:
        """Words of one stretch, without fillers; times on the timeline where `samples` start at `start_us`."""
        pcm = (np.clip(samples, -1.0, 1.0) * _PCM_MAX).astype(np.int16)
        end_us = start_us + len(samples) * MICROSECONDS // SAMPLE_RATE_HZ
        self.decoder.reinit_feat()  # else the front end's estimate of noise goes on from the stretch before
        self.decoder.start_utt()
        try:
            self.decoder.process_raw(pcm.tobytes(), full_utt=True)
        finally:
            self.decoder.end_utt()
        if self.decoder.hyp() is None:
            return ()
        heard = (_word(segment, start_us, end_us) for segment in self.decoder.seg())
        return tuple(word for word in heard if word is not None)


class PocketSphinx(Recogniser):
    """English speech recognition on stretches found by voice activity; silence and music give no text.

    Source: pocketsphinx 5.1 with its US English model and language model, behind silero-vad 6.2.
    Output: utterances, source `asr:pocketsphinx`, language `en`; words with times, and with the posterior
        probability in their lattice as confidence.
    Rate: one utterance a stretch of speech of at most about 15 s.
    Licence of the weights: BSD-2-Clause (pocketsphinx), MIT (silero-vad).

    Sound is read in blocks of 60 s of the timeline, so that memory is bounded; a stretch that goes on across
    the border of two blocks becomes two utterances that meet there, and a word on the border may be lost.

    Reference:
        Huggins-Daines et al. (2006), doi:10.1109/ICASSP.2006.1659988; github.com/snakers4/silero-vad.
    """

    spec = FeatureSpec(
        name="pocketsphinx",
        version=1,
        modality="text",
        inputs="audio",
        output="transcripts",
        rate="one a stretch of speech",
        units="words; confidence 0 to 1",
        source="pocketsphinx 5.1.1 en-us, silero-vad 6.2.3",
        licence="BSD-2-Clause AND MIT",
        weights_fingerprint="c20a528fc0ca2957",
        parameters=SPEECH_PARAMETERS,
    )

    def load(self, device: str) -> PocketSphinxModel:
        """Load detector and decoder from the installed packages; both run on the CPU, whatever the device."""
        sphinx = package_folder("pocketsphinx", "pocketsphinx") / "model" / "en-us"
        detector = package_folder("silero_vad", "silero-vad") / "data" / "silero_vad.jit"
        acoustic = sorted(path for path in (sphinx / "en-us").glob("*") if path.is_file())
        weights = [detector, sphinx / "en-us.lm.bin", sphinx / "cmudict-en-us.dict", *acoustic]
        check_weights(self.spec, weights, "pocketsphinx silero-vad")
        try:
            model = PocketSphinxModel(sphinx)
        except RuntimeError as error:
            message = f"cannot load the model in {str(sphinx)!r} ({error}); install pocketsphinx again"
            raise TranscriptionError(message) from error
        limit_threads()
        return model

    def __call__(self, model: PocketSphinxModel, items: Sequence[SoundWindow]) -> Sequence[tuple[Utterance, ...]]:
        """The utterances of each block."""
        with model.lock:
            return [tuple(_utterances(model, item)) for item in items]


def _utterances(model: PocketSphinxModel, block: SoundWindow) -> Iterator[Utterance]:
    for begin, end in model.stretches(block.samples):
        start_us = block.start_us + begin * MICROSECONDS // SAMPLE_RATE_HZ
        end_us = min(block.start_us + end * MICROSECONDS // SAMPLE_RATE_HZ, block.end_us)
        words = model.words(block.samples[begin:end], start_us)
        if words:
            text = " ".join(word.word for word in words)
            yield Utterance(start_us, end_us, text, source="asr:pocketsphinx", language="en", words=words)


def _word(segment: Any, start_us: int, end_us: int) -> Word | None:  # noqa: ANN401 - pocketsphinx has no types
    """A word as it is written, or None for a filler such as `<sil>` or `[NOISE]`."""
    text = _ALTERNATE.sub("", segment.word)
    if not text or _FILLER.fullmatch(text):
        return None
    begins_us = min(start_us + segment.start_frame * _FRAME_US, end_us)
    ends_us = min(start_us + (segment.end_frame + 1) * _FRAME_US, end_us)
    return Word(text, begins_us, ends_us, min(max(float(segment.prob), 0.0), 1.0))
