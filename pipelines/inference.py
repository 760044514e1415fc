"""RunInference's side of the extract job: models loaded once a worker process, run together over whole batches."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from apache_beam.ml.inference.base import ModelHandler
from apache_beam.utils.multi_process_shared import MultiProcessShared

from features.extractors.device import decode_threads, is_gpu, pick_device
from features.extractors.engine import Extracted, Loaded, extract_together
from features.extractors.registry import get_extractor
from features.identity import fingerprint
from pipelines.coders import stays_whole
from pipelines.sinks import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from features.records import MediaRows
    from pipelines.options import InferenceConfig


@stays_whole
class BatchInput(NamedTuple):
    """A batch's media with what some extractors read of them, and those without consent, each with the reason."""

    batch_id: str
    makers: tuple[str, ...]
    medias: tuple[MediaRows, ...]
    skipped: tuple[tuple[str, str], ...]


@stays_whole
class BatchOutput(NamedTuple):
    """What an extractor found in a batch, media by media in order."""

    batch_id: str
    maker: str
    found: tuple[Extracted, ...]


@stays_whole
class Outputs(NamedTuple):
    """What each extractor found in a batch, in their order."""

    by_maker: tuple[BatchOutput, ...]


class Models:
    """The models of extractors, by what makes those; a class, for Beam keeps weak references to it."""

    def __init__(self, models: Mapping[str, Any]) -> None:
        self.by_maker = models


class ExtractorHandler(ModelHandler[BatchInput, Outputs, Models]):  # type: ignore[misc]
    """Loads the models of extractors once a worker process, and runs them together over whole batches.

    Args:
        makers: The extractors; they read the same table.
        config: Device, sizes of batches, threads.
        share: Whether processes share one model on a device; None: where it is a GPU.
    """

    def __init__(self, makers: Sequence[str], config: InferenceConfig, *, share: bool | None = None) -> None:
        super().__init__()
        self._makers = tuple(makers)
        self._config = config
        self._share = share

    def load_model(self) -> Models:
        """The ready models."""
        return Models({maker: self._load(maker) for maker in self._makers})

    def _load(self, maker: str) -> Any:  # noqa: ANN401 - each extractor has its own model
        extractor, device = get_extractor(maker), self._config.device
        if not extractor.runs_on_gpu:
            return extractor.load(device)
        device = pick_device(device)
        if not (is_gpu(device) if self._share is None else self._share):
            return extractor.load(device)
        return MultiProcessShared(partial(extractor.load, device), tag=_tag(maker, device)).acquire()

    def run_inference(
        self,
        batch: Sequence[BatchInput],
        model: Models,
        inference_args: Mapping[str, Any] | None = None,
    ) -> Iterator[Outputs]:
        """One output an extractor, for each batch."""
        del inference_args
        beat = Heartbeat()
        for given in batch:
            yield self._run(given, model, beat)

    def _run(self, given: BatchInput, models: Models, beat: Heartbeat) -> Outputs:
        loaded = [self._loaded(maker, models) for maker in given.makers]
        threads = decode_threads(self._config.device, self._config.decode_threads)
        found: list[tuple[Extracted, ...]] = []
        for results in extract_together(loaded, given.medias, threads=threads, on_progress=beat):
            found.append(results)
            beat.done(len(loaded))
        beat.done(len(loaded) * len(given.skipped))
        skipped = tuple(Extracted(media_id, "skipped", (), None, reason) for media_id, reason in given.skipped)
        by_maker = zip(given.makers, zip(*found, strict=True) if found else [()] * len(loaded), strict=True)
        return Outputs(tuple(BatchOutput(given.batch_id, maker, (*own, *skipped)) for maker, own in by_maker))

    def _loaded(self, maker: str, models: Models) -> Loaded:
        extractor = get_extractor(maker)
        size = extractor.batch_size_on(pick_device(self._config.device))
        return Loaded(extractor, models.by_maker[maker], self._config.batch_size or size)

    def get_num_bytes(self, batch: Sequence[BatchInput]) -> int:
        """Bytes of media, for Beam's counters; by default it pickles the batch to know."""
        medias = [rows for given in batch for rows in given.medias]
        pictures = sum(len(frame.jpeg) for rows in medias for frame in rows.frames)
        return pictures + sum(len(chunk.flac) for rows in medias for chunk in rows.audio)

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """An element is a whole batch already."""
        return {"min_batch_size": 1, "max_batch_size": 1}


def _tag(maker: str, device: str) -> str:
    """Name of a model that processes share; it stands in a file's name, and one user's is not another's."""
    return f"triptych-{os.getuid()}-{fingerprint([maker, device])}"
