"""CMU-MOSI on published features, through the tables: honest selection on dev; run by `make bench-quality`.

The protocol, all of it:

- utterance vectors of text (100), audio (73), video (100) by `import-features --new-media`, binary sentiment by
  `label`; trained on the 62 videos of train, judged on the 10 of dev. The public test videos are not here. The vectors
  of text and video have seen the labels of train: nothing is chosen on train;
- the configurations of `GRID` are declared here, the simplest first; epochs and sizes are fixed; ten seeds averaged.
  (These and five more had been looked at on dev when the settings were fixed: dev's own figures are hopeful);
- temperatures, and the weights of late votes, are fitted on nine videos of dev and measured on the tenth, ten times;
- chosen is the simplest whose mean negative log-likelihood a video is within one standard error (of the paired
  difference by video) of the best one's;
- the gain over text alone, with its 95 % interval by paired bootstrap over videos.
"""

from __future__ import annotations

import csv
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import minimize

from features.fusion.bootstrap import paired_bootstrap
from features.fusion.configs import ContextConfig, EncoderConfig, FusionConfig, TrainingConfig
from features.fusion.prediction import predict_outputs
from features.fusion.recipe import Recipe, RecipeFeature, Task
from features.fusion.training import train
from features.store import Store
from flows.training import read_examples
from tests.benchmarks.quality_fusion import run_command

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOSI = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mosi"
SEEDS = tuple(range(10))
ALL = ("text", "audio", "video")
_RIDGE = 1e-3
_US = 1_000_000


class Choice(NamedTuple):
    """A configuration: the models whose log-odds are weighed, each by modalities, fusion and context."""

    name: str
    models: tuple[tuple[tuple[str, ...], str, str], ...]


GRID = (
    Choice("text", ((("text",), "concat", "none"),)),
    Choice("text, context", ((("text",), "concat", "bilstm"),)),
    Choice("concat", ((ALL, "concat", "none"),)),
    Choice("concat, context", ((ALL, "concat", "bilstm"),)),
    Choice("gated, context", ((ALL, "gated", "bilstm"),)),
    Choice("late votes", tuple(((one,), "concat", "none") for one in ALL)),
    Choice("late votes, context", tuple(((one,), "concat", "bilstm") for one in ALL)),
)


def main() -> None:
    """Print every configuration, the one that is chosen, and its gain over text."""
    if not MOSI.is_dir():
        print(f"no folder {MOSI.name!r} beside this checkout: nothing is measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        report(fill_store(Path(folder)))


def fill_store(folder: Path) -> Store:
    """Import and label by commands."""
    root = folder / "store"
    for modality, path in _features(folder).items():
        name = f"mosi_{modality}"
        run_command(root, "import-features", str(path), "--modality", modality, "--name", name, "--new-media")
    run_command(root, "label", "sentiment", str(_labels(folder)))
    return Store.open(root)


def report(store: Store) -> None:
    """Train what the grid asks for, and judge it on dev, a video left out at a time."""
    logits: dict[object, NDArray[np.float64]] = {}
    examples, _ = read_examples(store, recipe_of("concat", "none"))
    dev = examples.of_split("dev")
    truth, videos = dev.task.values.astype(np.float64), np.array(dev.media_id)
    for model in dict.fromkeys(model for choice in GRID for model in choice.models):
        modalities, fusion, context = model
        recipe = recipe_of(fusion, context)
        trained = train(recipe, examples, modalities=modalities)
        found = predict_outputs(trained.models(), dev.inputs.only(modalities), dev.place, trained.priors)["sentiment"]
        logits[model] = np.log(found[:, 1]) - np.log(found[:, 0])
    said = {one.name: _left_out(np.column_stack([logits[m] for m in one.models]), truth, videos) for one in GRID}
    nll = {name: np.logaddexp(0, np.where(truth > 0, -values, values)) for name, values in said.items()}
    right = {name: ((values > 0) == (truth > 0)).astype(np.float64) for name, values in said.items()}
    by_video = {name: np.array([rows[videos == one].mean() for one in np.unique(videos)]) for name, rows in nll.items()}
    best = min(by_video, key=lambda name: float(by_video[name].mean()))
    chosen = next(name for name in by_video if _within(by_video[name], by_video[best]))
    print(
        f"CMU-MOSI, binary sentiment, {len(truth)} utterances of {len(by_video[best])} dev videos, {len(SEEDS)} seeds"
    )
    for name in said:
        mark = " (best)" * (name == best) + " (chosen)" * (name == chosen)
        print(f"  {name:22} accuracy {right[name].mean():.3f}  NLL {nll[name].mean():.3f}{mark}")
    for over in ("text", "text, context"):
        for name in dict.fromkeys((chosen, "late votes, context", "concat, context")):
            low, high = paired_bootstrap(right[name], right[over], videos.tolist())
            gain = right[name].mean() - right[over].mean()
            words = "gain shown" if low > 0 else "no gain shown"
            print(f"  {name} over {over}: {gain:+.3f}, 95 % {low:+.3f} to {high:+.3f} over videos: {words}")


def recipe_of(fusion: str, context: str) -> Recipe:
    """A recipe of the grid."""
    dropout = {"text": 0.5, "audio": 0.5, "video": 0.5}
    return Recipe(
        name="mosi",
        labels="sentiment",
        tasks=(Task("sentiment", ("negative", "positive"), "binary"),),
        segmentation="labels:sentiment",
        score_segmentation="labels:sentiment",
        features=tuple(RecipeFeature(f"mosi_{modality}@1", modality) for modality in ALL),
        encoders={modality: EncoderConfig("linear", 32, share) for modality, share in dropout.items()},
        fusion=FusionConfig(fusion, size=32),
        context=ContextConfig(context, size=32, dropout=0.3),
        training=TrainingConfig(
            epochs=20,
            batch_size=96,
            schedule="cosine",
            early_stopping=False,
            class_weights=False,
            modality_dropout=0.2,
            seeds=SEEDS,
        ),
    )


def _left_out(logits: NDArray[np.float64], truth: NDArray[np.float64], videos: NDArray[np.str_]) -> NDArray[np.float64]:
    """Log-odds of each video by weights fitted on the others: one weight is a temperature, several are votes."""
    result = np.empty(len(truth))
    for video in np.unique(videos):
        own = videos == video
        result[own] = logits[own] @ _weights(logits[~own], truth[~own])
    return result


def _weights(logits: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights from 0 on, by likelihood."""
    signs = np.where(truth > 0, 1.0, -1.0)

    def loss(weights: NDArray[np.float64]) -> float:
        return float(np.logaddexp(0, -signs * (logits @ weights)).mean() + _RIDGE * (weights**2).sum())

    start = np.full(logits.shape[1], 1 / logits.shape[1])
    return np.asarray(minimize(loss, start, bounds=[(0, None)] * logits.shape[1]).x, np.float64)


def _within(one: NDArray[np.float64], best: NDArray[np.float64]) -> bool:
    """Whether it is within one standard error of the best."""
    difference = one - best
    return bool(difference.mean() <= difference.std(ddof=1) / np.sqrt(len(difference)))


def _utterances() -> dict[str, tuple[str, int, int, dict[str, str]]]:
    """Video, place in it, how many it has, and the row, by utterance."""
    by_video: dict[str, list[dict[str, str]]] = defaultdict(list)
    with (MOSI / "utterances.csv").open() as file:
        for row in csv.DictReader(file):
            by_video[row["video_id"]].append(row)
    places = {}
    for video, rows in by_video.items():
        for place, row in enumerate(sorted(rows, key=lambda row: int(row["segment"]))):
            places[row["utterance_id"]] = (video, place, len(rows), row)
    return places


def _features(folder: Path) -> dict[str, Path]:
    """Files that name video and place of each vector."""
    places, paths = _utterances(), {}
    for modality in ALL:
        paths[modality] = folder / f"{modality}.csv"
        with (MOSI / f"{modality}_features.csv").open() as source, paths[modality].open("w") as target:
            header, *rows = csv.reader(source)
            writer = csv.writer(target)
            writer.writerow(["media", "order", *header[1:]])
            writer.writerows([*places[row[0]][:2], *row[1:]] for row in rows)
    return paths


def _labels(folder: Path) -> Path:
    path = folder / "labels.csv"
    with path.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["media", "start_us", "end_us", "class", "split"])
        for video, place, count, row in _utterances().values():
            end = count * _US  # as import-features reckons: a second each
            mood = "positive" if row["label"] == "1" else "negative"
            writer.writerow([video, end * place // count, end * (place + 1) // count, mood, row["fold"]])
    return path


if __name__ == "__main__":
    main()
