"""A trained model that is ready to score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import ModelError
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from pathlib import Path

    from features.fusion.model import FusionModel
    from features.fusion.normalise import Scale
    from features.fusion.recipe import Recipe
    from features.fusion.results import Comparison


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to score.

    Attributes:
        folder: Where it was read from.
        recipe: What it was trained by.
        models: One a seed, in evaluation mode and float64; a prediction is the mean of their probabilities.
        modalities: In the model's order.
        classes: In the order of the probabilities, by task; none for a regression.
        priors: What is said without any modality, by task.
        temperatures: What probabilities are calibrated with, by task.
        scales: Mean and deviation of the training split, by modality.
        widths: Numbers in a stored vector, by feature.
        feature_specs: The features it learned from, as JSON, by `<name>@<version>`.
        table_versions: Versions of the tables it learned from.
        comparison: Its figures.
        created_at: ISO 8601.
        fingerprint: Hash of the weights.
        run_id: Run that trained it; empty where it was not stated.
        code_version: Version of Triptych that trained it.
    """

    folder: str
    recipe: Recipe
    models: tuple[FusionModel, ...]
    modalities: tuple[str, ...]
    classes: Mapping[str, tuple[str, ...]]
    priors: Mapping[str, tuple[float, ...]]
    temperatures: Mapping[str, float]
    scales: Mapping[str, Scale]
    widths: Mapping[str, int]
    feature_specs: Mapping[str, str]
    table_versions: Mapping[str, int]
    comparison: Comparison
    created_at: str
    fingerprint: str
    run_id: str = ""
    code_version: str = ""

    def check_features(self, specs: Mapping[str, str]) -> None:
        """Refuse features that are not those the model learned from.

        Args:
            specs: Specs of the store's features, as JSON, by `<name>@<version>`; those it lacks are not checked.

        Raises:
            ModelError: A feature was made otherwise: by other weights or parameters.
        """
        for key, text in self.feature_specs.items():
            known = FeatureSpec.from_json(text).fingerprint
            found = FeatureSpec.from_json(specs[key]).fingerprint if key in specs else known
            if found != known:
                message = (
                    f"model {self.folder!r} learned from feature {key} of fingerprint {known}, the store's is {found};"
                )
                raise ModelError(message + " train the model again on this store")

    def predict(
        self,
        *,
        video: str | Path | None = None,
        image: str | Path | None = None,
        audio: str | Path | None = None,
        text: str | Path | None = None,
        device: str = "auto",
    ) -> tuple[Prediction, ...]:
        """Predict one media, straight from its files.

        Args:
            video: A video; its own sound and text count where none are given beside it.
            image: A picture, instead of a video.
            audio: A sound.
            text: What is said: the words themselves, or the `Path` of a text or subtitle file.
            device: Device of the extractors' models.

        Returns:
            One a segment and task, in order of time.

        Raises:
            ConfigError: Nothing is given, a file is missing, or a video and an image are.
            ExtractionError: An extractor failed.
            MediaError: A file cannot be decoded.
        """
        from features.predict import options_of, predict, read_parts

        given = read_parts(video=video, image=image, audio=audio, text=text, options=options_of(self))
        return tuple(Prediction.of(row, self.classes) for row in predict(self, given, device=device).to_pylist())


class Prediction(NamedTuple):
    """What a model says of one segment.

    Attributes:
        start_us: Start of the segment, microseconds.
        end_us: End of the segment, microseconds.
        task: What is predicted.
        prediction: The class, the labels that hold, joined by `|`, or the number; None: abstained, for want of any
            modality.
        probabilities: By class or label; none of a number.
        present: Modalities that it rests on.
        contributions: How much it rests on each (`features.fusion.scoring.score_segments`).
    """

    start_us: int
    end_us: int
    task: str
    prediction: str | None
    probabilities: Mapping[str, float]
    present: tuple[str, ...]
    contributions: Mapping[str, float]

    @classmethod
    def of(cls, row: Mapping[str, Any], classes: Mapping[str, tuple[str, ...]]) -> Prediction:
        """From a row of `scores/<model>`."""
        present = tuple(row["present"])
        return cls(
            row["start_us"],
            row["end_us"],
            row["task"],
            row["prediction"],
            dict(zip(classes[row["task"]], row["probabilities"] or (), strict=False)),
            present,
            dict(zip(present, row["contributions"] or (), strict=True)),
        )
