"""What the report shows, as plain records: collected from the store elsewhere, drawn by `render`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from features.fusion.results import Agreement, Calibration


@dataclass(frozen=True, slots=True)
class TableCount:
    """One table of the store: its rows, its batches, and the bytes of its files."""

    name: str
    num_rows: int
    num_batches: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class CoverageRow:
    """How many media an extractor found something in, or why not."""

    extractor: str
    ok: int = 0
    partial: int = 0
    absent: int = 0
    empty: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Thumb:
    """One picture of the contact sheet; `jpeg` is embedded as it is."""

    media_id: str
    name: str
    t_us: int
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class MetricsRow:
    """Measures of one way to predict (`fused`, `video`, `majority`, …) on the test split, each in [0, 1]."""

    name: str
    accuracy: float
    precision: float
    recall: float
    f1: float
    num_rows: int


@dataclass(frozen=True, slots=True)
class ProbabilityRow:
    """How good the fused model's probabilities are on the test split; None where it was not kept.

    `ece` is in [0, 1], `brier` as in `Metrics`, `nll` in nats.
    """

    name: str
    ece: float | None
    brier: float | None
    nll: float | None


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """Errors of one way to predict a number on the test split, in the labels' unit; intervals are of 95 %."""

    name: str
    mae: float | None
    mae_low: float | None = None
    mae_high: float | None = None
    rmse: float | None = None
    pearson: float | None = None
    r2: float | None = None


@dataclass(frozen=True, slots=True)
class RegressionSummary:
    """A model's regression task, and how its fusion compares with each single modality.

    Attributes:
        name: Name of the model.
        version: Version of the model.
        task: What it predicts.
        created_at: When it was registered, with a time zone.
        rows: Errors of the fused model, of each modality alone, and of always saying the training split's mean.
        verdict: What the comparison shows, in a sentence.
        num_rows: Segments in the training, development and test split.
        num_test_groups: Groups of media in the test split.
        agreement: Intervals, and points of the figure; None of a model from before they were kept.
    """

    name: str
    version: str
    task: str
    created_at: datetime
    rows: tuple[ErrorRow, ...]
    verdict: str
    num_rows: tuple[int, ...]
    num_test_groups: int
    agreement: Agreement | None = None


@dataclass(frozen=True, slots=True)
class QualityRow:
    """Media in which a kind of fault was found, by how much of them it takes.

    Attributes:
        fault: Such as `black pictures`.
        num_media: Media that it was looked for in.
        some: Those that have any.
        much: Those in which it is much, as `limit` says.
        mean: Mean over the media, in `unit`.
        limit: What counts as much.
        unit: Of `mean`: `%`, `LUFS`.
    """

    fault: str
    num_media: int
    some: int
    much: int
    mean: float
    limit: str
    unit: str = "%"


@dataclass(frozen=True, slots=True)
class TokenizerRow:
    """A tokenizer of the store."""

    name: str
    version: str
    num_pieces: int
    created_at: str


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A model, and how its fusion compares with each single modality.

    Attributes:
        name: Name of the model.
        version: Version of the model.
        task: What it predicts.
        classes: The classes of the task.
        created_at: When it was registered, with a time zone.
        rows: Measures of the fused model, of each modality alone, and of always guessing the majority.
        gain: Accuracy of the fused model less that of `best_single`; None where there is nothing to compare.
        gain_low: Lower end of the 95 % interval of `gain`.
        gain_high: Upper end of it.
        gain_shown: The claim that fusion helps is made; the report makes it only if the interval agrees.
        best_single: The best single modality.
        num_train: Segments in the training split.
        num_dev: Segments in the development split.
        num_test: Segments in the test split.
        calibration: What the temperature does; None where none was fitted.
        probabilities: Of the fused model, without and with its temperature.
    """

    name: str
    version: str
    task: str
    classes: tuple[str, ...]
    created_at: datetime
    rows: tuple[MetricsRow, ...]
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    gain_shown: bool
    best_single: str
    num_train: int
    num_dev: int
    num_test: int
    calibration: Calibration | None = None
    probabilities: tuple[ProbabilityRow, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoredSegment:
    """One prediction for `[start_us, end_us)` of a media.

    Attributes:
        media_id: The media.
        name: File name of the media.
        start_us: Start of the segment, microseconds.
        end_us: End of the segment, microseconds.
        task: What was predicted.
        prediction: The class; None where the model abstained.
        probability: Of the predicted class; None where the model abstained.
        abstained: No modality was there to predict from.
        present: Modalities that the prediction used.
        contributions: Share of each modality of `present`, in its order; empty where not computed.
    """

    media_id: str
    name: str
    start_us: int
    end_us: int
    task: str
    prediction: str | None
    probability: float | None
    abstained: bool
    present: tuple[str, ...]
    contributions: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class FailureRow:
    """One dead letter."""

    stage: str
    uri: str
    error: str
    message: str
    attempts: int
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class ReportData:
    """All that a report shows of one store.

    Attributes:
        store: Where the store is.
        created_at: When the report was made, with a time zone.
        tables: Every table of the store.
        num_media: Media in whole batches.
        total_duration_us: Sum of their durations, microseconds.
        coverage: One row an extractor.
        contact_sheet: Sampled pictures.
        models: Newest first, their tasks of classes and labels.
        regressions: Newest first, their regressions.
        quality: Faults of the media that were ingested.
        tokenizers: Those of the store.
        scores: A sample of the scored segments.
        num_scores: All scored segments; 0 stands for as many as `scores` holds.
        failures: Open dead letters.
        num_failures: All open dead letters; 0 stands for as many as `failures` holds.
        notes: Plain statements shown at the top, such as that the data are synthetic.
    """

    store: str
    created_at: datetime
    tables: tuple[TableCount, ...] = ()
    num_media: int = 0
    total_duration_us: int = 0
    coverage: tuple[CoverageRow, ...] = ()
    contact_sheet: tuple[Thumb, ...] = ()
    models: tuple[ModelSummary, ...] = ()
    regressions: tuple[RegressionSummary, ...] = ()
    quality: tuple[QualityRow, ...] = ()
    tokenizers: tuple[TokenizerRow, ...] = ()
    scores: tuple[ScoredSegment, ...] = ()
    num_scores: int = 0
    failures: tuple[FailureRow, ...] = ()
    num_failures: int = 0
    notes: tuple[str, ...] = ()

    @property
    def num_models(self) -> int:
        """Models, each of which may have several tasks."""
        keys = {(model.name, model.version) for model in self.models}
        return len(keys | {(model.name, model.version) for model in self.regressions})
