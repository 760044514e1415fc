"""The sections of a recipe: normalisation, encoders, context, fusion, augmentation, training, splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from features.fusion.settings import setting

ENCODERS = ("mlp", "linear", "cnn", "lstm", "gru", "transformer")
FUSIONS = ("concat", "weighted", "attention", "gated", "low_rank", "tensor", "cross_modal", "late")


@dataclass(frozen=True, slots=True)
class NormalisationConfig:
    """What a feature's mean and deviation are taken from.

    Attributes:
        per: `train`: the rows of the training split, kept in the model (inductive). `subject` or `media`: the
            unlabelled rows of the segment's own subject or media (transductive: scoring needs more than one of it).
        at_least: Subjects or media with fewer rows fall back on the training split's numbers.
        modalities: The modalities that are normalised so; by default all.
    """

    per: str = setting("train", choices=("train", "subject", "media"))
    at_least: int = setting(10, at_least=2)
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """A modality's encoder.

    Attributes:
        kind: `linear` and `mlp` take a vector; `cnn` a sequence, a picture (frame64) or a patch (log_mel_128); `lstm`,
            `gru` and `transformer` a sequence. A sequence that meets `linear` or `mlp` is averaged first.
        size: Numbers that it gives.
        dropout: Share of its inputs (`linear`) or hidden units that is dropped in training.
        hidden: Numbers of the hidden layer of `mlp`; 0: as `size`.
        layers: Layers of `mlp`, `lstm`, `gru`, `transformer`, and of convolution and pooling in `cnn`.
        heads: Attention heads of `transformer`.
        bidirectional: Whether `lstm` and `gru` read both ways.
        filters: Filters of a `cnn`'s layers.
        kernel: Width of a filter, and its height for pictures and patches.
        embedding: Where above 0, the values are ids (`tokens`), each first looked up as a vector of this size.
        vocabulary: Ids there are; 0: as many as the tokenizer of the feature has pieces.
        standardise: Whether vectors are standardised by their training split's numbers.
    """

    kind: str = setting("mlp", choices=ENCODERS)
    size: int = setting(32, at_least=1, at_most=4096)
    dropout: float = setting(0.5, at_least=0, at_most=0.95)
    hidden: int = setting(0, at_least=0, at_most=16384)
    layers: int = setting(1, at_least=1, at_most=24)
    heads: int = setting(4, at_least=1, at_most=64)
    bidirectional: bool = False
    filters: int = setting(32, at_least=1, at_most=2048)
    kernel: int = setting(3, at_least=1, at_most=31)
    embedding: int = setting(0, at_least=0, at_most=4096)
    vocabulary: int = setting(0, at_least=0, at_most=10_000_000)
    standardise: bool = True


@dataclass(frozen=True, slots=True)
class FusionConfig:
    """How encoded modalities become one vector (or, with `late`, how each modality's own prediction is counted).

    Attributes:
        kind: `concat`, `weighted`, `attention`, `gated`, `low_rank` (Liu 2018), `tensor` (Zadeh 2017), `cross_modal`
            (Tsai 2019), `late`.
        size: Numbers of the fused vector, where the kind does not follow from its parts.
        rank: Rank of `low_rank`.
        heads: Attention heads of `cross_modal`.
        layers: Layers of `cross_modal`.
        dropout: Of the fused vector, in training.
        weights: Fixed weights by modality, of `weighted` and `late`; empty: learned (`weighted`), the plain mean
            (`late`) unless `learned`.
        learned: `late`: learn the votes.
        contrastive: Weight of a contrastive loss that aligns the modalities of a segment (Radford 2021); 0: none.
        temperature: Of the contrastive loss.
    """

    kind: str = setting("concat", choices=FUSIONS)
    size: int = setting(32, at_least=1, at_most=4096)
    rank: int = setting(4, at_least=1, at_most=256)
    heads: int = setting(4, at_least=1, at_most=64)
    layers: int = setting(1, at_least=1, at_most=24)
    dropout: float = setting(0.0, at_least=0, at_most=0.95)
    weights: Mapping[str, float] = setting({}, at_least=0, at_most=1e6)
    learned: bool = False
    contrastive: float = setting(0.0, at_least=0, at_most=100)
    temperature: float = setting(0.1, at_least=1e-3, at_most=10)


@dataclass(frozen=True, slots=True)
class ContextConfig:
    """What a segment sees of the other segments of its media, after fusion.

    Attributes:
        kind: `none`, `bilstm` (Poria 2017), `transformer`.
        size: Numbers that it adds to a segment's vector.
        layers: Its layers.
        heads: Attention heads of `transformer`.
        dropout: In training.
    """

    kind: str = setting("none", choices=("none", "bilstm", "transformer"))
    size: int = setting(32, at_least=2, at_most=4096)
    layers: int = setting(1, at_least=1, at_most=24)
    heads: int = setting(4, at_least=1, at_most=64)
    dropout: float = setting(0.3, at_least=0, at_most=0.95)


@dataclass(frozen=True, slots=True)
class AugmentationConfig:
    """What training does to its inputs; nothing by default.

    Attributes:
        noise: Deviation of the Gaussian noise on standardised vectors.
        mixup: Alpha of mixup (Zhang 2018); 0: none.
        time_mask: Share of a sequence's steps that is hidden at most.
        flip: Chance that a picture is mirrored.
        rotation_degrees: Pictures are turned by at most this angle.
        crop: Share of a picture's side that a random crop cuts off at most.
        frequency_mask: Mel bands that are hidden at most (SpecAugment, Park 2019).
        patch_time_mask: Frames of a mel patch that are hidden at most.
    """

    noise: float = setting(0.0, at_least=0, at_most=10)
    mixup: float = setting(0.0, at_least=0, at_most=10)
    time_mask: float = setting(0.0, at_least=0, at_most=0.9)
    flip: float = setting(0.0, at_least=0, at_most=1)
    rotation_degrees: float = setting(0.0, at_least=0, at_most=180)
    crop: float = setting(0.0, at_least=0, at_most=0.9)
    frequency_mask: int = setting(0, at_least=0, at_most=127)
    patch_time_mask: int = setting(0, at_least=0, at_most=127)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """The training loop's numbers; a model is the mean over its seeds.

    Attributes:
        epochs: Passes over the training split at most.
        batch_size: Examples a step (with context: at least so many, whole media).
        optimiser: `adamw` or `adam`.
        learning_rate: Its highest.
        schedule: `constant`, or `cosine`, which falls to 0 over all epochs.
        warmup_epochs: Epochs over which the learning rate rises to its highest.
        weight_decay: On weight matrices (`adamw`).
        clip_norm: Largest norm of a step's gradient; 0: any.
        early_stopping: Stop after `patience` epochs without a better dev loss, and keep the best epoch's weights;
            false: train all epochs and keep the last, which needs no dev split of its own.
        patience: See above.
        class_weights: Whether each class of a task weighs the same in all.
        label_smoothing: Share of a class's target that goes to the others.
        modality_dropout: Chance that a present modality is hidden from an example in training.
        subset_loss: Weight of the mean loss with fewer modalities, each alone and each left out, beside the loss with
            all (Wu 2018): every example teaches all of them, where dropout draws one. Their number (2 of two
            modalities, 6 of three) gives each the weight of the whole. 0: none. Early stopping looks at the whole.
        loss_weights: `fixed` (each task's weight), or `uncertainty` (learned: Kendall 2018).
        seeds: One model is trained for each; their predictions are averaged.
    """

    epochs: int = setting(80, at_least=1)
    batch_size: int = setting(32, at_least=1)
    optimiser: str = setting("adamw", choices=("adamw", "adam"))
    learning_rate: float = setting(0.002, at_least=1e-8, at_most=1)
    schedule: str = setting("constant", choices=("constant", "cosine"))
    warmup_epochs: float = setting(0.0, at_least=0)
    weight_decay: float = setting(0.05, at_least=0, at_most=10)
    clip_norm: float = setting(0.0, at_least=0)
    early_stopping: bool = True
    patience: int = setting(15, at_least=1)
    class_weights: bool = True
    label_smoothing: float = setting(0.0, at_least=0, at_most=0.9)
    modality_dropout: float = setting(0.1, at_least=0, at_most=0.9)
    subset_loss: float = setting(0.0, at_least=0, at_most=100)
    loss_weights: str = setting("fixed", choices=("fixed", "uncertainty"))
    seeds: tuple[int, ...] = setting((0, 1, 2), at_least=0, at_most=2**31)


@dataclass(frozen=True, slots=True)
class SplitConfig:
    """Name of the table of splits, and the fractions of groups where it holds none yet."""

    name: str = "default"
    train: float = setting(0.6, at_least=0.01, at_most=1)
    dev: float = setting(0.2, at_least=0.01, at_most=1)
    test: float = setting(0.2, at_least=0.01, at_most=1)
    seed: int = setting(0, at_least=0)

    @property
    def fractions(self) -> dict[str, float]:
        """Fraction by split."""
        return {"train": self.train, "dev": self.dev, "test": self.test}
