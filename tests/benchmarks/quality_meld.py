"""How much of an utterance's sentiment `minilm` tells: a logistic probe on MELD, over TF-IDF in the same run.

Run by `python -m tests.benchmarks.quality_meld`. The protocol, all of it:

- fitted on MELD's train (9,989 utterances), measured on its dev (1,109), three classes of sentiment; text alone, an
  utterance at a time, by the extractor as the job runs it; no speaker, no context;
- logistic regression by scikit-learn: multinomial, L2, classes not weighted, at most 2,000 steps. No seed plays a part;
- C is chosen on train alone, for both sides alike: of four values, that of the best accuracy in 5 folds of whole
  dialogues. Dev is looked at once a side;
- TF-IDF is scikit-learn's as it comes (single words, in lower case), over text cleaned in the same way; its words are
  those of train.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from features.extractors.engine import extract_media
from features.extractors.minilm import MiniLM
from features.extractors.simple import clean_text
from features.records import FeatureRow, MediaRows, Utterance

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "meld_text"
CHOICES = (0.1, 0.3, 1.0, 3.0)
FOLDS = 5
TARGET_ACCURACY, TARGET_MACRO_F1, TARGET_GAIN = 0.63, 0.60, 0.08


class Line(NamedTuple):
    """An utterance, its sentiment, and the dialogue that it stands in."""

    text: str
    sentiment: str
    dialogue: str


class Figures(NamedTuple):
    """What a probe tells of dev, and the C that was chosen on train."""

    accuracy: float
    macro_f1: float
    c: float


class Measured(NamedTuple):
    """Both sides of one run."""

    minilm: Figures
    tfidf: Figures

    @property
    def gain(self) -> float:
        """Accuracy of `minilm` over that of TF-IDF."""
        return self.minilm.accuracy - self.tfidf.accuracy


def main() -> None:
    """Print a line a side, and the gain."""
    begun = time.perf_counter()
    train, dev = lines_of("train"), lines_of("dev")
    measured = measure(train, dev)
    print(f"MELD sentiment, {len(train)} of train, {len(dev)} of dev, {time.perf_counter() - begun:.0f} s")
    for name, figures in measured._asdict().items():
        print(f"  {name:7} accuracy {figures.accuracy:.3f}   macro-F1 {figures.macro_f1:.3f}   (C = {figures.c:g})")
    print(f"  gain    {100 * measured.gain:+.1f} points of accuracy")
    print(f"  targets accuracy {TARGET_ACCURACY:.3f}   macro-F1 {TARGET_MACRO_F1:.3f}   gain {100 * TARGET_GAIN:+.1f}")


def lines_of(split: str, limit: int | None = None) -> list[Line]:
    """Utterances of `train` or `dev`, in the order of the file, the first so many of them."""
    with (FOLDER / f"{split}_sent_emo.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [Line(clean_text(row["Utterance"]), row["Sentiment"], row["Dialogue_ID"]) for row in rows[:limit]]


def measure(train: Sequence[Line], dev: Sequence[Line]) -> Measured:
    """Fit both probes on one part and measure them on the other.

    Args:
        train: Utterances to fit on, of five dialogues at least.
        dev: Utterances to measure on.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    probe = LogisticRegression(max_iter=2_000)
    words = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=2_000))
    vectors = vectors_of([line.text for line in (*train, *dev)])
    texts = np.array([line.text for line in train]), np.array([line.text for line in dev])
    return Measured(
        _figures(probe, "C", (vectors[: len(train)], vectors[len(train) :]), train, dev),
        _figures(words, "logisticregression__C", texts, train, dev),
    )


def vectors_of(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Vectors of `minilm`, float32, shape [num_texts, 384], of cleaned texts."""
    utterances = tuple(Utterance(place, place + 1, text, "subtitle") for place, text in enumerate(texts))
    rows = MediaRows("meld", len(texts), has_video=False, has_audio=False, has_text=True, utterances=utterances)
    extractor = MiniLM()
    (found,) = extract_media(extractor, extractor.load("cpu"), [rows])
    made = [row.values for row in found.rows if isinstance(row, FeatureRow)]
    assert len(made) == len(texts), found.message
    return np.stack(made).astype(np.float32)


def _figures(
    probe: Any,
    name: str,
    inputs: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    train: Sequence[Line],
    dev: Sequence[Line],
) -> Figures:
    """Choose C on train, fit on train, measure on dev."""
    from sklearn.metrics import accuracy_score, f1_score
    from sklearn.model_selection import GridSearchCV, GroupKFold

    search = GridSearchCV(probe, {name: CHOICES}, scoring="accuracy", cv=GroupKFold(FOLDS))
    search.fit(inputs[0], [line.sentiment for line in train], groups=[line.dialogue for line in train])
    right, told = [line.sentiment for line in dev], search.predict(inputs[1])
    macro_f1 = f1_score(right, told, average="macro")
    return Figures(float(accuracy_score(right, told)), float(macro_f1), float(search.best_params_[name]))


if __name__ == "__main__":
    main()
