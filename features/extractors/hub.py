"""Models of the `transformers` library, by local folder or by name on the hub: found, checked, described, loaded."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from features.errors import ExtractionError
from features.extractors.hub_cache import Located, locate
from features.extractors.hub_files import fingerprint_of, licence_of, read_json, weight_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]
    Item = TypeVar("Item")

PREPROCESSOR = ("preprocessor_config.json", "processor_config.json")
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")


@dataclass(frozen=True, slots=True)
class HubModel:
    """A whole model in a folder, not loaded.

    Attributes:
        located: Where it lies.
        config: Its configuration, as transformers reads it.
        licence: As its card states, or `unstated`.
        fingerprint: Hash of configuration, weights, and the files that prepare its inputs.
    """

    located: Located
    config: Any
    licence: str
    fingerprint: str

    @property
    def folder(self) -> Path:
        """Its files."""
        return self.located.folder

    @property
    def source(self) -> str:
        """What it is, wherever it lies."""
        return f"{self.architecture or self.config.model_type} of transformers, {self.located.name}"

    @property
    def architecture(self) -> str:
        """Class that its weights were saved from, as far as it says so."""
        return str((self.config.architectures or [""])[0])


def find_model(where: str, extra: Sequence[str]) -> HubModel:
    """Find a model and make sure that it is whole; it is not loaded, but it may be downloaded.

    Args:
        where: A local folder, or `owner/name` or `owner/name@revision` on the hub.
        extra: Names of further files that change its values, of which not all need be there.

    Raises:
        ExtractionError: There is none, it is not whole, or its weights are not safetensors.
    """
    located = locate(where, ("config.json", *_WEIGHTS, *extra))
    stamp = tuple(sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in _files(located.folder)))
    return _read_model(located, tuple(extra), stamp)


def load_network(model: HubModel, name: str = "AutoModel") -> tuple[Any, bool]:
    """Load a model's network in float32 on the CPU, ready to infer; nothing is looked up or printed.

    Args:
        model: The model.
        name: Class of transformers that loads it.

    Returns:
        The network, and whether it has a trained pooler or needs none: one with random values is not to be used.

    Raises:
        ExtractionError: The weights do not fit, some are missing, or transformers does not know the model.
    """
    with _told(model.folder), _quiet():
        import torch
        import transformers

        network, info = getattr(transformers, name).from_pretrained(
            model.folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    # `masked_spec_embed` stands for what is masked in training alone.
    missing = sorted(key for key in info["missing_keys"] if not key.endswith("masked_spec_embed"))
    wrong = [key for key in missing if ".pooler." not in f".{key}"] + [str(key) for key in info["mismatched_keys"]]
    if wrong:
        message = f"the weights in {str(model.folder)!r} lack {wrong[0]!r} of {type(network).__name__}; fetch it again"
        raise ExtractionError(message)
    return network.eval(), not missing


def load_helper(folder: Path, name: str, **options: str) -> Any:  # noqa: ANN401 - transformers has no types
    """Load what prepares a model's inputs: a tokenizer, an image processor, a feature extractor.

    Raises:
        ExtractionError: Its files are missing or damaged, or transformers does not know it.
    """
    with _told(folder), _quiet():
        import transformers

        return getattr(transformers, name).from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )


def to_torch_device(network: Any, device: str) -> Any:  # noqa: ANN401 - torch's module, or its device
    """Move a network to a device, in full precision there."""
    import torch

    if torch.device(device).type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # it is off by more than a version allows
    return network.to(torch.device(device))


def check_width(output: Array, width: int, folder: Path) -> None:
    """Refuse a model that gives vectors of another length than its configuration let expect.

    Raises:
        ExtractionError: It does.
    """
    if output.shape[-1] != width:
        message = (
            f"the model in {str(folder)!r} gives {output.shape[-1]} values, not {width}; its kind is not supported"
        )
        raise ExtractionError(message)


@lru_cache(maxsize=16)
def _read_model(located: Located, extra: tuple[str, ...], stamp: object) -> HubModel:
    """Of one state of a folder's files, which the stamp tells from others."""
    del stamp
    folder = located.folder
    read_json(folder / "config.json")
    weights = weight_files(folder)
    others = [folder / name for name in ("config.json", *extra) if (folder / name).is_file()]
    config = load_helper(folder, "AutoConfig")
    return HubModel(located, config, licence_of(folder), fingerprint_of([*weights, *others]))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()]


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """What transformers and safetensors raise, as an error that names the folder."""
    try:
        yield
    except ExtractionError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        message = (
            f"cannot load {str(folder)!r} ({type(error).__name__}: {reason}); "
            "give a whole model of a kind that the installed transformers knows"
        )
        raise ExtractionError(message) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars and reports, which would stand between a job's own lines."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
