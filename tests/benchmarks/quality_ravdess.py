"""How much of a speaker's emotion the features of sound tell: a logistic probe on RAVDESS, actors held out.

Run by `python -m tests.benchmarks.quality_ravdess`. The protocol, all of it:

- the 720 clips of the shared folder: speech of 12 actors, 60 clips each, 8 emotions (most frequent: .133);
- a clip is pooled over its rows, each weighted by the root mean square of its sound, for a clip begins and ends in
  silence: weighted mean, weighted standard deviation, and maximum of each value;
- 6 folds of two actors in order of their numbers (1 and 2, 3 and 4, ...); what is fitted sees the other ten only;
- values standardised, then logistic regression by scikit-learn: multinomial, L2, C = 0.01, at most 2,000 steps;
- accuracy over all clips, each predicted once. No seed plays a part.

"per actor": each actor's values are first brought to mean 0 and standard deviation 1 over the actor's own clips, the
held out ones too. That needs no labels but all of an actor's clips at once: it is transductive, and no figure for one
clip.

Choices were made on these same folds: ten poolings (with and without weights, deviation, minimum and maximum), up to
five values of C, and whether prosody measures vocal effort. So the figures are somewhat hopeful: without weights and
effort the best set had .504 and .615, most other choices lay within two points, and one standard error is 1.9 points.
"""

from __future__ import annotations

import csv
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile

from features.extractors.engine import Loaded, extract_together
from features.extractors.registry import get_extractor
from features.extractors.rows import SAMPLE_RATE_HZ
from features.identity import MICROSECONDS
from features.media.sound import ChunkWriter
from features.records import FeatureRow, MediaRows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from features.extractors.engine import Extracted

    Floats = npt.NDArray[np.float64]
    Samples = npt.NDArray[np.float32]

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "ravdess"
SETS = (("mfcc",), ("mfcc", "prosody"), ("mfcc", "prosody", "mel"))
ACTORS_A_FOLD = 2
C = 0.01
TARGET, TARGET_PER_ACTOR = 0.51, 0.61


class Clip(NamedTuple):
    """A clip's file and labels."""

    clip_id: str
    emotion: str
    actor: int
    path: Path


class Accuracy(NamedTuple):
    """Share of clips whose emotion is told, of one set of features."""

    extractors: tuple[str, ...]
    plain: float
    per_actor: float


def main() -> None:
    """Print a line a set of features."""
    begun = time.perf_counter()
    clips = clips_of(range(1, 13))
    results = accuracies(clips)
    print(f"RAVDESS, {len(clips)} clips, 6 folds by actor, C = {C}, {time.perf_counter() - begun:.0f} s")
    for result in results:
        name = " + ".join(result.extractors)
        print(f"  {name:22} plain {result.plain:.3f}   per actor (transductive) {result.per_actor:.3f}")
    print(f"  targets, best set:     plain {TARGET:.3f}   per actor (transductive) {TARGET_PER_ACTOR:.3f}")


def clips_of(actors: Iterable[int]) -> list[Clip]:
    """Clips of some actors, as the folder lists them."""
    with (FOLDER / "clips.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = set(actors)
    clips = (Clip(row["clip_id"], row["emotion"], int(row["actor"]), FOLDER / row["audio"]) for row in rows)
    return [clip for clip in clips if clip.actor in wanted]


def accuracies(clips: Sequence[Clip], sets: Sequence[tuple[str, ...]] = SETS) -> list[Accuracy]:
    """Extract, pool and probe, with folds of two actors.

    Args:
        clips: Clips of at least four actors.
        sets: Names of extractors, a set each.
    """
    names = tuple(dict.fromkeys(name for names in sets for name in names))
    pooled = _pooled(clips, names)
    actors = np.array([clip.actor for clip in clips])
    emotions = np.array([clip.emotion for clip in clips])
    results = []
    for some in sets:
        values = np.concatenate([pooled[name] for name in some], axis=1)
        plain, per_actor = map(
            partial(_accuracy, emotions=emotions, actors=actors), (values, _standardised_by_actor(values, actors))
        )
        results.append(Accuracy(some, plain, per_actor))
    return results


def _pooled(clips: Sequence[Clip], names: Sequence[str]) -> dict[str, Floats]:
    """A vector a clip of each extractor: shape [num_clips, 3 * size]."""
    extractors = [get_extractor(name) for name in names]
    loaded = [Loaded(extractor, extractor.load("cpu")) for extractor in extractors]
    sounds = [soundfile.read(clip.path, dtype="float32")[0] for clip in clips]
    pooled: dict[str, list[Floats]] = {name: [] for name in names}
    for sound, results in zip(sounds, extract_together(loaded, map(_media, clips, sounds)), strict=True):
        for name, result in zip(names, results, strict=True):
            pooled[name].append(_pool(result, sound))
    return {name: np.stack(vectors) for name, vectors in pooled.items()}


def _media(clip: Clip, sound: Samples) -> MediaRows:
    writer = ChunkWriter(0, rate_hz=SAMPLE_RATE_HZ, chunk_us=10 * MICROSECONDS)
    writer.write(np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16))
    duration_us = round(len(sound) * MICROSECONDS / SAMPLE_RATE_HZ)
    return MediaRows(
        clip.clip_id, duration_us, has_video=False, has_audio=True, has_text=False, audio=tuple(writer.finish())
    )


def _pool(result: Extracted, sound: Samples) -> Floats:
    """Mean and standard deviation over a clip's rows, weighted by the level of their sound, and maximum."""
    rows = [row for row in result.rows if isinstance(row, FeatureRow)]
    values = np.array([row.values for row in rows], np.float64)
    weights = np.array([_root_mean_square(sound, row) for row in rows]) + 1e-9  # digital silence has a mean too
    weights /= weights.sum()
    mean = weights @ values
    return np.concatenate([mean, np.sqrt(weights @ (values - mean) ** 2), values.max(axis=0)])


def _root_mean_square(sound: Samples, row: FeatureRow) -> float:
    begin, end = (round(time_us * SAMPLE_RATE_HZ / MICROSECONDS) for time_us in (row.start_us, row.end_us))
    return float(np.sqrt(np.mean(np.square(sound[begin:end], dtype=np.float64))))


def _standardised_by_actor(values: Floats, actors: npt.NDArray[np.int_]) -> Floats:
    result = np.empty_like(values)
    for actor in np.unique(actors):
        own = values[actors == actor]
        result[actors == actor] = (own - own.mean(axis=0)) / (own.std(axis=0) + 1e-6)
    return result


def _accuracy(values: Floats, *, emotions: npt.NDArray[np.str_], actors: npt.NDArray[np.int_]) -> float:
    """Share of clips that are told, each by a probe that never saw its actor."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    order = np.unique(actors)
    told = 0
    for begin in range(0, len(order), ACTORS_A_FOLD):
        is_held_out = np.isin(actors, order[begin : begin + ACTORS_A_FOLD])
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=2_000))
        probe.fit(values[~is_held_out], emotions[~is_held_out])
        told += int((probe.predict(values[is_held_out]) == emotions[is_held_out]).sum())
    return told / len(actors)


if __name__ == "__main__":
    main()
