"""`video_class` in small, through the tables: a spoken digit and a written one; four folds by speaker.

Run by `make bench-quality`. The protocol, all of it:

- 240 recordings of fsdd (4 speakers, digits 0 to 9), each paired with an image of the same digit of scikit-learn's, an
  image once; fold k tests one speaker with his images, which no training pair shows; the next is dev, two train;
- the images get Gaussian noise of deviation 7 (of 16 grey levels): the least of 5 to 8 with which logistic regression
  on the training pairs' images alone is right in at most 70 % (cross-validated), so that no modality passes 90 %;
- sound is normalised per speaker, by his own unlabelled recordings: transductive (inductive, the gain over the image
  depends on the draw of the noise: in one of five its interval held 0);
- through `ingest`, `extract mfcc`, `import-features` (64 grey levels), `label` and the trainer; five seeds averaged;
  gated fusion; no early stopping. Recordings under a quarter of a second have no row of `mfcc`: their sound is absent;
- logistic regression by scikit-learn on the same vectors beside it.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np

from features.fusion.configs import EncoderConfig, FusionConfig, NormalisationConfig, TrainingConfig
from features.fusion.recipe import Recipe, RecipeFeature, Task
from features.store import Store
from tests.benchmarks.quality_fusion import SEEDS, report, run_command, run_fold

FSDD = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "fsdd"
SPEAKERS = ("george", "jackson", "nicolas", "theo")
NOISE = 7.0


def main() -> None:
    """Print what the four folds show."""
    if not FSDD.is_dir():
        print(f"no folder {FSDD.name!r} beside this checkout: nothing is measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        store = fill_store(Path(folder))
        title = (
            f"spoken and written digits, 4 folds by speaker, transductive, noise {NOISE}; {len(SEEDS)} seeds averaged"
        )
        report(title, None, [run_fold(store, recipe_of(fold)) for fold in range(len(SPEAKERS))])


def fill_store(folder: Path) -> Store:
    """Ingest, extract, import and label by commands."""
    root = folder / "store"
    sounds = sorted(FSDD.glob("*.wav"))
    run_command(root, "ingest", str(FSDD / "*.wav"))
    run_command(root, "extract", "mfcc")
    run_command(root, "import-features", str(_images(folder, sounds)), "--modality", "video", "--name", "digit_image")
    for fold in range(len(SPEAKERS)):
        run_command(root, "label", f"digit_{fold}", str(_labels(folder, sounds, fold)))
    return Store.open(root)


def recipe_of(fold: int) -> Recipe:
    """The recipe of a fold."""
    encoders = {"video": EncoderConfig("linear", 64, 0.3), "audio": EncoderConfig("linear", 64, 0.5)}
    return Recipe(
        name="digits",
        labels=f"digit_{fold}",
        tasks=(Task("digit"),),
        segmentation=f"labels:digit_{fold}",
        score_segmentation="whole",
        features=(RecipeFeature("digit_image@1", "video"), RecipeFeature("mfcc@1", "audio")),
        normalisation=NormalisationConfig("subject", modalities=("audio",)),
        encoders=encoders,
        fusion=FusionConfig("gated", size=64),
        training=TrainingConfig(
            epochs=40,
            schedule="cosine",
            warmup_epochs=2,
            early_stopping=False,
            class_weights=False,
            modality_dropout=0.1,
            seeds=SEEDS,
        ),
    )


def _images(folder: Path, sounds: list[Path]) -> Path:
    """An image of scikit-learn's for each recording, of the same digit, each once, with noise."""
    from sklearn.datasets import load_digits

    random = np.random.default_rng(100)
    digits = load_digits()
    waiting = {digit: random.permutation(np.flatnonzero(digits.target == digit)).tolist() for digit in range(10)}
    path = folder / "images.csv"
    with path.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["uri", *(f"grey_{place:02d}" for place in range(64))])
        for sound in sounds:
            image = digits.data[waiting[int(sound.stem[0])].pop()] + NOISE * random.standard_normal(64)
            writer.writerow([str(sound), *np.round(image, 4)])
    return path


def _labels(folder: Path, sounds: list[Path], fold: int) -> Path:
    path = folder / f"digit_{fold}.csv"
    dev = SPEAKERS[(fold + 1) % len(SPEAKERS)]
    with path.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["uri", "task", "class", "subject", "split"])
        for sound in sounds:
            digit, speaker, _ = sound.stem.split("_")
            split = "test" if speaker == SPEAKERS[fold] else "dev" if speaker == dev else "train"
            writer.writerow([str(sound), "digit", digit, speaker, split])
    return path


if __name__ == "__main__":
    main()
