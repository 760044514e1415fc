"""`hub_audio:WHERE`: how something sounds, by a speech model of the `transformers` library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from features.errors import ExtractionError
from features.extractors.base import Extractor
from features.extractors.device import limit_threads, pick_device, to_device
from features.extractors.groups import in_groups
from features.extractors.hub import (
    PREPROCESSOR,
    HubModel,
    check_width,
    find_model,
    load_helper,
    load_network,
    to_torch_device,
)
from features.extractors.hub_cache import TAKES
from features.extractors.rows import SAMPLE_RATE_HZ, SoundWindow, feature_rows, sound_windows, span_of
from features.identity import MICROSECONDS, Span
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from features.records import FeatureRow, MediaRows

    Array = npt.NDArray[np.float32]

WINDOW_US = 4 * MICROSECONDS
"""Length of what a row stands for."""

SHORTEST_US = MICROSECONDS // 4
"""Windows that the ends of the sound cut shorter than this are left out."""

WHISPER_BLOCK_US = 7 * WINDOW_US
"""Sound that the Whisper encoder hears at once: it takes 30 s, whatever it is given."""

_WAVEFORM = "Wav2Vec2FeatureExtractor"
_WHISPER = "WhisperFeatureExtractor"


class AudioNetwork:
    """A network of sound.

    Args:
        model: Where its weights lie.
        device: Name that torch takes.

    Raises:
        ExtractionError: It takes something other than sound at 16 kHz, or a spectrogram other than Whisper's.
    """

    def __init__(self, model: HubModel, device: str) -> None:
        import torch

        self.extractor = load_helper(model.folder, "AutoFeatureExtractor")
        self._check(model)
        network, _ = load_network(model)
        self.network = to_torch_device(network.get_encoder() if _is_whisper(model.config) else network, device)
        self.device = torch.device(device)

    def __call__(self, samples: Array, windows: npt.NDArray[np.int64]) -> Array:
        """Means over time of the last hidden state.

        Args:
            samples: Float32 in [-1, 1] at 16 kHz, shape [n, num_samples].
            windows: Begin and end of each window as indices of samples, shape [num_windows, 2].

        Returns:
            Float32, shape [n, num_windows, width].
        """
        import torch

        prepared = self.extractor(list(samples), sampling_rate=SAMPLE_RATE_HZ, return_tensors="np")
        name = self.extractor.model_input_names[0]
        with torch.inference_mode():
            values = to_device(np.ascontiguousarray(prepared[name], np.float32), self.device)
            states = self.network(values).last_hidden_state  # [n, num_states, width]
            means = [states[:, begin:end].mean(dim=1) for begin, end in self._states(windows, states.shape[1])]
            stacked = torch.stack(means, dim=1)
        return np.asarray(stacked.cpu().numpy(), np.float32)

    def _states(self, windows: npt.NDArray[np.int64], num_states: int) -> list[tuple[int, int]]:
        """Begin and end of each window as indices of hidden states; of a network of waveforms there is but one."""
        if name_of(self.extractor) == _WAVEFORM:
            return [(0, num_states)]
        samples_a_state = self.extractor.n_samples // num_states
        return [(int(begin) // samples_a_state, -(-int(end) // samples_a_state)) for begin, end in windows]

    def _check(self, model: HubModel) -> None:
        name, rate_hz = name_of(self.extractor), self.extractor.sampling_rate
        wanted = _WHISPER if _is_whisper(model.config) else _WAVEFORM
        if name != wanted or rate_hz != SAMPLE_RATE_HZ:
            message = (
                f"the model in {str(model.folder)!r} prepares sound by {name} at {rate_hz} Hz, not by {wanted} at "
                f"{SAMPLE_RATE_HZ} Hz; give a wav2vec 2.0, HuBERT, WavLM or Whisper model"
            )
            raise ExtractionError(message)


class HubAudio(Extractor):
    """Embeddings of sound by a model of transformers: wav2vec 2.0, HuBERT, WavLM, data2vec-audio, Whisper's encoder.

    Source: the model named; its weights as safetensors, its sound prepared as its own `preprocessor_config.json` says.
    Shape: [hidden size]: mean over time of the last hidden state; no unit.
    Rate: one row every 4 s of sound, `[4 k s, 4 (k + 1) s)` of the media's timeline; windows cut short by the ends of
        the sound are kept from 0.25 s. A network of waveforms hears each window alone. Whisper's encoder hears 28 s at
        once (7 windows; its input is padded to 30 s in any case), and a row is the mean over its own window.
    Licence of the weights: as the model's card states, else "unstated".

    Args:
        where: A local folder, or `owner/name` or `owner/name@revision` on the hub.

    Raises:
        ExtractionError: There is no such model, it is not whole, or it is no model of sound.

    Reference:
        Baevski et al. (2020), arXiv:2006.11477; Hsu et al. (2021), arXiv:2106.07447; Chen et al. (2022),
        arXiv:2110.13900; Radford et al. (2022), arXiv:2212.04356.
    """

    takes: ClassVar[str] = TAKES
    runs_on_gpu = True
    batch_size = 8
    gpu_batch_size = 32

    def __init__(self, where: str) -> None:
        self._model = find_model(where, PREPROCESSOR)
        self._block_us = WHISPER_BLOCK_US if _is_whisper(self._model.config) else WINDOW_US
        self.spec = FeatureSpec(
            name=f"hub_audio_{self._model.located.slug}",
            version=1,
            modality="audio",
            inputs="audio",
            shape=(int(getattr(self._model.config, "hidden_size", 0)),),
            rate=f"one every {WINDOW_US // MICROSECONDS} seconds",
            units="component of an embedding",
            source=self._model.source,
            licence=self._model.licence,
            weights_fingerprint=self._model.fingerprint,
            parameters=(
                ("sample_rate_hz", str(SAMPLE_RATE_HZ)),
                ("window_us", str(WINDOW_US)),
                ("block_us", str(self._block_us)),
                ("shortest_us", str(SHORTEST_US)),
                ("pooling", "mean over time of the last hidden state"),
                ("precision", "float32"),
            ),
            made_by=f"hub_audio:{self._model.located.where}",
        )

    def load(self, device: str) -> AudioNetwork:
        """Load the network; the hub is not asked."""
        torch_device = pick_device(device)
        network = AudioNetwork(self._model, torch_device)
        limit_threads()
        noise = np.random.default_rng(0).uniform(-0.1, 0.1, (1, SAMPLE_RATE_HZ)).astype(np.float32)
        check_width(network(noise, np.array([[0, SAMPLE_RATE_HZ]])), self.spec.shape[0], self._model.folder)
        return network

    def prepare(self, rows: MediaRows) -> Iterator[SoundWindow]:
        """What the network hears at once, a chunk of sound decoded at a time."""
        for block in sound_windows(rows, window_us=self._block_us):
            if windows_of(block):
                yield block

    def __call__(self, model: AudioNetwork, items: Sequence[SoundWindow]) -> Sequence[Array]:
        """Vectors of each block's windows, shape [num_windows, width]; blocks cut alike go together, unpadded."""

        def work(group: list[SoundWindow]) -> Array:
            return model(np.stack([item.samples for item in group]), _indices(group[0]))

        return in_groups(items, lambda item: (len(item.samples), _indices(item).tobytes()), work)

    def finish(self, rows: MediaRows, items: Sequence[Span], outputs: Sequence[Array]) -> Sequence[FeatureRow]:
        """A row a window."""
        pairs = zip(items, outputs, strict=True)
        return [row for item, vectors in pairs for row in feature_rows(windows_of(item), list(vectors))]

    def slim(self, item: SoundWindow) -> Span:
        """Its place on the timeline."""
        return span_of(item)


def windows_of(block: Span | SoundWindow) -> list[Span]:
    """The windows of a block, cut at the multiples of 4 s of the timeline, without those that are too short."""
    borders = range((block.start_us // WINDOW_US + 1) * WINDOW_US, block.end_us, WINDOW_US)
    starts, ends = (block.start_us, *borders), (*borders, block.end_us)
    return [Span(start, end) for start, end in zip(starts, ends, strict=True) if end - start >= SHORTEST_US]


def name_of(extractor: Any) -> str:  # noqa: ANN401 - transformers has no types
    """Name of its class."""
    return type(extractor).__name__


def _indices(block: SoundWindow) -> npt.NDArray[np.int64]:
    """Its windows as indices of its samples, shape [num_windows, 2]."""
    times_us = np.array([(window.start_us, window.end_us) for window in windows_of(block)], np.int64)
    return np.asarray(np.rint((times_us - block.start_us) * (SAMPLE_RATE_HZ / MICROSECONDS)), np.int64)


def _is_whisper(config: Any) -> bool:  # noqa: ANN401 - transformers has no types
    return str(config.model_type) == "whisper"
