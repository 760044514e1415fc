"""What training costs beside its products: an epoch over stored features against a bare PyTorch loop; two processes.

Run by `make bench`. The bare loop has the same model, optimiser, order and batches over the same tensors in memory, and
nothing else: no checkpoints, no dev loss, no masks drawn, no task weights. Ours reads what was aligned from a mapped
file; its first epoch, which reads the file cold, is told alone. Two processes share each batch of a network large
enough to be worth it.
"""

from __future__ import annotations

import resource
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from features.fusion.configs import EncoderConfig, FusionConfig, TrainingConfig
from features.fusion.distributed import Rank
from features.fusion.examples import Inputs, Place, TaskTargets
from features.fusion.inputs import Gathered
from features.fusion.loop import Fit, Plan, fit_member
from features.fusion.model import FusionModel, ModelInputs, architecture_of
from features.fusion.normalise import scales_of
from features.fusion.prediction import one_thread
from features.fusion.recipe import Recipe, RecipeFeature, Task
from features.fusion.training import TrainingRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.fusion.model import Architecture

ROWS, EPOCHS = 40_000, 4
TARGET, TARGET_OF_TWO = 1.3, 1.6
_CPU = Rank(0, 1, torch.device("cpu"))


def main() -> None:
    """Print both ratios."""
    recipe = _recipe(EncoderConfig("mlp", 128, 0.3), FusionConfig(), EPOCHS)
    plan = _plan(recipe, ROWS, in_memory_bytes=0)
    ours, bare = Fit(plan, 0, "fused", TrainingRun(device="cpu"), _CPU), _Bare(plan)
    with one_thread():
        pairs = [(_cpu_seconds(ours.epoch), _cpu_seconds(bare.epoch)) for _ in range(EPOCHS + 1)]
    (first, _), *rest = pairs
    best, alone = (min(column) for column in zip(*rest, strict=True))
    size = sum(values.nbytes for values in plan.inputs.values.values())
    print(f"an epoch over {ROWS:,} segments, {size / 1e6:.0f} MB aligned, one thread, best of {EPOCHS}")
    print(f"  bare loop over tensors in memory  {alone:.2f} CPU s")
    print(f"  ours, from a mapped file          {best:.2f} CPU s  (the first epoch {first:.2f})")
    print(f"  ratio  {best / alone:.2f}  (target: at most {TARGET})")
    print(f"  memory of this process at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    _two_processes()


def _two_processes() -> None:
    recipe = _recipe(EncoderConfig("mlp", 1024, 0.3, hidden=2048, layers=2), FusionConfig(), 2)
    recipe = replace(recipe, training=replace(recipe.training, batch_size=2048))
    plan = _plan(recipe, 16_000)
    seconds = {}
    for count in (1, 2):
        short = plan._replace(recipe=replace(recipe, training=replace(recipe.training, epochs=1)))
        run = TrainingRun(num_processes=count, device="cpu")
        start = min(_seconds(lambda p=short, r=run: fit_member(p, 0, "fused", r)) for _ in range(2))
        whole = min(_seconds(lambda p=plan, r=run: fit_member(p, 0, "fused", r)) for _ in range(2))
        seconds[count] = whole - start
    parameters = sum(p.numel() for p in FusionModel(plan.architecture).parameters())
    print(f"an epoch of {parameters / 1e6:.0f} M parameters, batches of 2,048, without the processes' start")
    print(f"  one process {seconds[1]:.2f} s, two {seconds[2]:.2f} s")
    print(f"  ratio  {seconds[1] / seconds[2]:.2f}  (target: at least {TARGET_OF_TWO})")


class _Bare:
    """The loop that most people write."""

    def __init__(self, plan: Plan) -> None:
        torch.manual_seed(0)
        self.model = FusionModel(plan.architecture)
        targets = {task: held.take(plan.train_rows) for task, held in plan.tasks.items()}
        self.model.fit(plan.scales, targets)
        config = plan.recipe.training
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=config.learning_rate, fused=True)
        self.values = {name: torch.from_numpy(np.array(v)[plan.train_rows]) for name, v in plan.inputs.values.items()}
        self.present = {name: torch.ones(len(plan.train_rows), dtype=torch.bool) for name in self.values}
        self.targets = torch.from_numpy(plan.tasks["mood"].values[plan.train_rows])
        self.batch_size = config.batch_size

    def epoch(self) -> None:
        self.model.train()
        order = torch.randperm(len(self.targets))
        for rows in order.split(self.batch_size):
            batch = ModelInputs(
                {name: value[rows] for name, value in self.values.items()},
                {name: mask[rows] for name, mask in self.present.items()},
                {},
                rows,
                rows,
            )
            loss = torch.nn.functional.cross_entropy(self.model(batch)["mood"], self.targets[rows])
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()


def _recipe(encoder: EncoderConfig, fusion: FusionConfig, epochs: int) -> Recipe:
    names = {"video": "pictures@1", "audio": "sounds@1", "text": "words@1"}
    return Recipe(
        name="bench",
        labels="mood",
        tasks=(Task("mood"),),
        segmentation="labels:mood",
        score_segmentation="whole",
        features=tuple(RecipeFeature(key, modality) for modality, key in names.items()),
        encoders=dict.fromkeys(names, encoder),
        fusion=fusion,
        training=TrainingConfig(epochs=epochs, seeds=(0,), modality_dropout=0.1, early_stopping=False),
    )


def _plan(recipe: Recipe, rows: int, in_memory_bytes: int = 1 << 40) -> Plan:
    random = np.random.default_rng(0)
    widths = {"video": 1280, "audio": 128, "text": 384}
    gathered = Gathered(rows, in_memory_bytes=in_memory_bytes)
    for piece in np.array_split(np.arange(rows), 20):
        values = {name: random.normal(size=(len(piece), width)).astype(np.float32) for name, width in widths.items()}
        gathered.put(piece, Inputs(values, {name: np.ones(len(piece), bool) for name in widths}, {}))
    inputs = gathered.inputs() or Inputs({}, {}, {})
    target = TaskTargets("class", ("low", "high"), random.integers(2, size=rows), np.ones(rows, np.float32))
    train = np.flatnonzero(np.arange(rows) % 10 < 9)
    dev = np.flatnonzero(np.arange(rows) % 10 == 9)
    architecture: Architecture = architecture_of(recipe, inputs.shapes, {"mood": target})
    place = Place(np.arange(rows), np.zeros(rows, np.int64))
    return Plan(recipe, architecture, inputs, place, {"mood": target}, train, dev, scales_of(inputs, train))


def _cpu_seconds(work: Callable[[], object]) -> float:
    """Of this process, reading of the mapped file included; other work beside it does not count."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
