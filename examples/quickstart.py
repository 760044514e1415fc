# %% [markdown]
# # Your own videos, your own labels
#
# From a folder of videos and a CSV that says what they are, to features in pandas and NumPy, a fused model, scores, and
# a prediction for a new clip. Run it as it is, and it draws some clips for itself; that takes a minute or two and
# needs no network. For your own:
#
#     python examples/quickstart.py --videos videos/ --labels labels.csv --new another.mp4
#
# The CSV has a column `uri` (paths as seen from the CSV) and a column `class`; a dozen videos of each class are a
# start. It needs Triptych and pandas.

# %%
import argparse
import csv
import subprocess
import sys
from pathlib import Path

import numpy as np

from features.fusion.checkpoint import load_model
from features.predict import options_of, predict, read_given
from features.reading import open_features
from features.store import Store, read_table
from features.store.models import find_model, model_folder
from features.synthetic.clips import FRAME_RATE, Cue, srt_text, write_clip
from features.synthetic.samples import draw_face, make_look, make_sentence, make_sound

# %% [markdown]
# ## What to work on
#
# In the notebook, write your own paths here.

# %%
VIDEOS, LABELS, NEW = "", "", ""  # a folder, a CSV, a clip to predict; empty: clips are made
FOLDER = "quickstart"  # for the store, the recipe and the report

if "ipykernel" not in sys.modules:  # run as a script: from the command line
    parser = argparse.ArgumentParser(description="From videos and labels to features, a model, and predictions.")
    parser.add_argument("--videos", default=VIDEOS, help="folder of videos")
    parser.add_argument("--labels", default=LABELS, help="CSV with uri and class")
    parser.add_argument("--new", default=NEW, help="clip to predict; default: the first of the videos")
    parser.add_argument("--folder", default=FOLDER, help="where the recipe and the report go")
    parser.add_argument("--store", default="", help="where the store goes; default: in the folder")
    given = parser.parse_args()
    if bool(given.videos) != bool(given.labels):
        parser.error("--videos and --labels go together: give both, or neither for clips that are made")
    VIDEOS, LABELS, NEW, FOLDER = given.videos, given.labels, given.new, given.folder
    STORE = given.store or f"{FOLDER}/store"
else:
    STORE = f"{FOLDER}/store"

# %% [markdown]
# Without videos, clips are drawn: a face that looks glad or sad, a voice, and a sentence in a subtitle file. Of your
# own videos, text comes from subtitles too, inside the file or beside it, and else from speech recognition (which a
# recipe uses only where it says `allow_recognised_text = true`).

# %%
MICROSECONDS, SECONDS, CLEAR = 1_000_000, 3, 1.5


def make_clip(path: Path, mood: float, seed: int) -> None:
    """One clip with its subtitles; a mood below 0 is sad, above 0 glad."""
    random = np.random.default_rng(seed)
    look = make_look(random)
    sound = make_sound(mood, SECONDS, random)
    write_clip(
        path,
        num_frames=SECONDS * FRAME_RATE,
        picture_at=lambda t_seconds: draw_face(mood, t_seconds, look),
        sound=sound,
        cues=(),
    )
    cue = Cue(0, SECONDS * MICROSECONDS, make_sentence(mood, random))
    path.with_suffix(".srt").write_text(srt_text([cue]), encoding="utf-8")


def make_clips(folder: Path, num_clips: int = 32) -> tuple[Path, Path, Path]:
    """Clips, their labels, and a clip that is not among them; once made, they stay."""
    videos, labels, new = folder / "videos", folder / "labels.csv", folder / "new.mp4"
    if new.exists():
        return videos, labels, new
    videos.mkdir(parents=True, exist_ok=True)
    rows = [(f"videos/clip_{number:02}.mp4", ("sad", "glad")[number % 2]) for number in range(num_clips)]
    for number, (uri, mood) in enumerate(rows):
        make_clip(folder / uri, CLEAR if mood == "glad" else -CLEAR, number)
    with labels.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("uri", "class"), *rows])
    make_clip(new, CLEAR, num_clips)
    return videos, labels, new


if VIDEOS:
    videos, labels = Path(VIDEOS), Path(LABELS)
    new = Path(NEW) if NEW else min(videos.rglob("*.mp4"))
else:
    videos, labels, new = make_clips(Path(FOLDER) / "made")
print(f"videos: {videos}, labels: {labels}, new clip: {new}")

# %% [markdown]
# ## Ingest and extract
#
# Each video is decoded once, into pictures, sound and text; each extractor fills a table of vectors. Both commands go
# on where they were if they are stopped, and do only what is new when they are run again.


# %%
def triptych(*words: str) -> None:
    """What you would type: `triptych --store STORE …`."""
    print("$ triptych", *words, flush=True)
    command = [sys.executable, "-m", "flows.cli", "--store", STORE, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, flush=True)
    if done.returncode:
        raise SystemExit(done.stderr)


RUNNER = "multi" if VIDEOS else "in-process"  # a few dozen short clips are not worth a process a core
triptych("ingest", str(videos), "--runner", RUNNER)
triptych("extract", "efficientnet_lite0", "mfcc", "minilm", "--runner", RUNNER)

# %% [markdown]
# ## Label and train
#
# `triptych init` writes a recipe with every key explained; its task is called `mood`, which you may change. Training
# compares the fused model with each modality alone, on videos that it has not seen.

# %%
recipe = Path(FOLDER) / "recipe.toml"
if not recipe.exists():
    triptych("init", FOLDER)
triptych("label", "mood", str(labels))
triptych("train", str(recipe))

# %% [markdown]
# ## Features in pandas and NumPy
#
# `open_features` gives a row a segment (here a whole video), the vectors side by side, and for each whether it is
# there: what is missing is a mask, never zeros.

# %%
store = Store.open(STORE)
reader = open_features(store, ["efficientnet_lite0", "mfcc", "minilm"], "whole", media_columns=["name"])
table = reader.to_arrow().read_all()
frame = table.to_pandas()
print(frame[["name", "efficientnet_lite0:present", "mfcc:present", "minilm:present"]].head())

heard = frame[frame["mfcc:present"]]
sound_vectors = np.stack(heard["mfcc"].to_list())  # [videos, 80]
print("sound:", sound_vectors.shape, sound_vectors.dtype)

# %% [markdown]
# ## How good is it?

# %%
model = load_model(model_folder(store, find_model(store, "mood")))
first = model.comparison.first  # the first task, and here the only one
fused, chance = first.fused.test.accuracy, first.majority.accuracy
print(f"right on the test videos: {fused:.0%}; always the most frequent class: {chance:.0%}")

# %% [markdown]
# ## Scores of the archive, and a prediction for a new clip

# %%
triptych("score", "mood")
scores = read_table(store, find_model(store, "mood").table).to_pandas()
print(scores[["media_id", "prediction", "probabilities", "present"]].head())

prediction = predict(model, read_given([new], options_of(model))).to_pylist()[0]
print(new.name, "is", prediction["prediction"], "by", ", ".join(prediction["present"]))

# %% [markdown]
# The same from the command line, without a store: `triptych predict MODEL_FOLDER new.mp4`.
#
# ## A look at the report
#
# One HTML file: what is in the store, how the models compare, scores with pictures. Open it in a browser.

# %%
report = Path(FOLDER) / "report.html"
triptych("report", "--out", str(report))
triptych("models", "mood")
print("report:", report.resolve().as_uri())
