"""`faster_whisper:WHERE`: what is said, by a Whisper model, where the package `faster-whisper` is installed."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from features.errors import TranscriptionError
from features.extractors.device import is_gpu, limit_threads, num_threads, pick_device
from features.extractors.hub_cache import TAKES, Located, locate
from features.extractors.hub_files import fingerprint_of, licence_of, read_json
from features.extractors.rows import SAMPLE_RATE_HZ, SoundWindow
from features.extractors.speech import SPEECH_PARAMETERS, Recogniser, SpeechDetector
from features.extractors.weights import package_folder
from features.identity import MICROSECONDS
from features.records import Utterance, Word
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    Samples = npt.NDArray[np.float32]

BEAM_SIZE = 5

_NEEDED = ("config.json", "model.bin", "tokenizer.json")
_FURTHER = ("vocabulary.json", "vocabulary.txt", "preprocessor_config.json")
_DISTRIBUTION = "'triptych[whisper]'"


class FasterWhisperModel:
    """A detector of speech and a recogniser, each loaded once.

    Args:
        folder: A Whisper model as CTranslate2 keeps it.
        device: Name that torch takes; CTranslate2 uses the CPU where it was built without CUDA.
    """

    def __init__(self, folder: Path, device: str) -> None:
        import ctranslate2
        from faster_whisper import WhisperModel

        self._lock = Lock()  # the detector keeps state, and Beam may call from several threads of a process
        self._detector = SpeechDetector()
        index = int(device.partition(":")[2] or 0)
        on_gpu = is_gpu(device) and ctranslate2.get_cuda_device_count() > index
        self.recogniser = WhisperModel(
            str(folder),
            device="cuda" if on_gpu else "cpu",
            device_index=index if on_gpu else 0,
            compute_type="float32",  # another one would be another version
            cpu_threads=num_threads(),
            local_files_only=True,
        )

    def __call__(self, samples: Samples, start_us: int) -> tuple[Utterance, ...]:
        """The utterances of a block of sound.

        Args:
            samples: Float32 in [-1, 1] at 16 kHz, shape [num_samples].
            start_us: Where they start on the timeline.
        """
        with self._lock:
            return tuple(self._utterances(samples, start_us))

    def _utterances(self, samples: Samples, block_us: int) -> Iterator[Utterance]:
        for begin, end in self._detector(samples):
            start_us, end_us = (block_us + index * MICROSECONDS // SAMPLE_RATE_HZ for index in (begin, end))
            segments, info = self._recognise(samples[begin:end])
            text = " ".join("".join(segment.text for segment in segments).split())
            words = tuple(_words(segments, start_us, end_us))
            if text:
                yield Utterance(
                    start_us, end_us, text, source="asr:faster_whisper", language=info.language, words=words
                )

    def _recognise(self, samples: Samples) -> tuple[list[Any], Any]:
        """What faster-whisper makes of one stretch, by nothing but the stretch and without chance."""
        segments, info = self.recogniser.transcribe(
            np.ascontiguousarray(samples),
            beam_size=BEAM_SIZE,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
            vad_filter=False,
        )
        return list(segments), info


class FasterWhisper(Recogniser):
    """Speech recognition in many languages on stretches found by voice activity; silence and music give no text.

    Source: the model named, as CTranslate2 keeps it (a folder of `ct2-transformers-converter`, or one such as
        `Systran/faster-whisper-small` on the hub), run by faster-whisper in float32, behind silero-vad.
    Output: utterances, source `asr:faster_whisper`, each with the language that the model found; words with times, and
        with their probability as confidence.
    Rate: one utterance a stretch of speech of at most about 15 s.
    Licence of the weights: as the model's card states, else "unstated"; of silero-vad MIT.

    Sound is read in blocks of 60 s of the timeline, so that memory is bounded; a stretch that goes on across the
    border of two blocks becomes two utterances that meet there. No sampling: where Whisper would try again by chance
    (temperatures above 0), the first try stays.

    Args:
        where: A local folder, or `owner/name` or `owner/name@revision` on the hub.

    Raises:
        ExtractionError: There is no such model, it is not whole, or `faster-whisper` is not installed.

    Reference:
        Radford et al. (2022), arXiv:2212.04356; github.com/SYSTRAN/faster-whisper; github.com/snakers4/silero-vad.
    """

    takes: ClassVar[str] = TAKES
    runs_on_gpu = True
    gpu_batch_size = 1

    def __init__(self, where: str) -> None:
        package_folder("faster_whisper", _DISTRIBUTION)
        self._located = locate(where, (*_NEEDED, *_FURTHER))
        paths = [*_model_files(self._located.folder), package_folder("silero_vad", "silero-vad") / _DETECTOR]
        licence = licence_of(self._located.folder)
        self.spec = FeatureSpec(
            name=_name(self._located),
            version=1,
            modality="text",
            inputs="audio",
            output="transcripts",
            rate="one a stretch of speech",
            units="words; confidence 0 to 1",
            source=f"{self._located.name} by faster-whisper, silero-vad",
            licence=f"{licence} AND MIT",
            weights_fingerprint=fingerprint_of(paths),
            parameters=(
                *SPEECH_PARAMETERS,
                ("beam_size", str(BEAM_SIZE)),
                ("temperature", "0"),
                ("language", "as detected in each stretch"),
                ("precision", "float32"),
            ),
            made_by=f"faster_whisper:{self._located.where}",
        )

    def load(self, device: str) -> FasterWhisperModel:
        """Load detector and recogniser; the hub is not asked."""
        folder = self._located.folder
        try:
            model = FasterWhisperModel(folder, pick_device(device))
        except (RuntimeError, ValueError, OSError) as error:
            message = (
                f"cannot load the model in {str(folder)!r} ({error}); fetch it again, or convert it again with "
                "ct2-transformers-converter; on a GPU that CTranslate2 cannot use, give --device cpu"
            )
            raise TranscriptionError(message) from error
        limit_threads()
        return model

    def __call__(self, model: FasterWhisperModel, items: Sequence[SoundWindow]) -> Sequence[tuple[Utterance, ...]]:
        """The utterances of each block."""
        return [model(item.samples, item.start_us) for item in items]


_DETECTOR = "data/silero_vad.jit"


def _name(located: Located) -> str:
    """`faster_whisper_<model>`, where models of that name do not say it twice."""
    return f"faster_whisper_{located.slug.removeprefix('faster_whisper_')}"


def _model_files(folder: Path) -> list[Path]:
    """All files that change what a model hears.

    Raises:
        TranscriptionError: One is missing: faster-whisper would ask the hub for it.
    """
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if missing:
        message = (
            f"no {missing[0]!r} in {str(folder)!r}, so it is no Whisper model of CTranslate2; convert one with "
            "ct2-transformers-converter --copy_files tokenizer.json preprocessor_config.json, or fetch it again"
        )
        raise TranscriptionError(message)
    read_json(folder / "config.json")
    return [path for name in (*_NEEDED, *_FURTHER) if (path := folder / name).is_file()]


def _words(segments: Iterable[Any], start_us: int, end_us: int) -> Iterator[Word]:
    """Words on the timeline, within the stretch `[start_us, end_us)` that was heard."""
    for segment in segments:
        for word in segment.words or ():
            begins_us, ends_us = (
                min(start_us + round(seconds * MICROSECONDS), end_us) for seconds in (word.start, word.end)
            )
            if text := word.word.strip():
                yield Word(text, begins_us, ends_us, min(max(float(word.probability), 0.0), 1.0))
