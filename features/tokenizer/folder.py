"""A tokenizer as a folder, `<store>/models/<name>/<version>/`: `tokenizer.model` (sentencepiece) and `tokenizer.json`.

It has no `model.json`, so nothing takes it for a fusion model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from features.errors import ConfigError, ModelError
from features.fusion.settings import Place, parse
from features.store.publish import fingerprint_of, write_folder
from features.store.storage import remedy

if TYPE_CHECKING:
    from features.spec import FeatureSpec
    from features.store.store import Store

FORMAT_VERSION = 1
"""Version of the folder's layout; a newer one is refused."""

WEIGHTS = "tokenizer.model"
CARD = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class TokenizerCard:
    """What `tokenizer.json` holds.

    Attributes:
        format_version: Of the folder's layout.
        name: Name of the tokenizer.
        version: Its version, which no other tokenizer of its store has; that of the features it makes too.
        pieces: Pieces that it knows.
        vocabulary: Pieces that it was allowed.
        split: Table whose training side it learned from; empty: from the text of all media.
        num_media: Media whose text it learned from.
        num_utterances: Utterances of theirs.
        text_fingerprint: Hash of the texts, the vocabulary and the version of sentencepiece.
        weights_fingerprint: Hash of `tokenizer.model`.
        table_versions: Versions of the tables it learned from.
        created_at: ISO 8601, UTC.
        run_id: Run that fitted it.
        code_version: Version of Triptych that fitted it.
    """

    format_version: int
    name: str
    version: int
    pieces: int
    vocabulary: int
    split: str
    num_media: int
    num_utterances: int
    text_fingerprint: str
    weights_fingerprint: str
    table_versions: Mapping[str, int]
    created_at: str
    run_id: str
    code_version: str


class TokenizerRef(NamedTuple):
    """A tokenizer of a store; by version, so that the newest is the largest."""

    version: int
    name: str

    @property
    def key(self) -> str:
        """`<name>@<version>`."""
        return f"{self.name}@{self.version}"


def tokenizer_folder(store: Store, ref: TokenizerRef) -> Path:
    """Where a tokenizer lies."""
    return store.path / "models" / ref.name / str(ref.version)


def list_tokenizers(store: Store) -> tuple[TokenizerRef, ...]:
    """All tokenizers of a store, by version."""
    folders = (path.parent for path in (store.path / "models").glob(f"*/*/{CARD}"))
    return tuple(sorted(TokenizerRef(int(path.name), path.parent.name) for path in folders if path.name.isdigit()))


def newest_tokenizer(store: Store, name: str = "") -> TokenizerRef | None:
    """The newest tokenizer, of a name where one is given; None where there is none."""
    return max((ref for ref in list_tokenizers(store) if name in ("", ref.name)), default=None)


def save_tokenizer(folder: Path, model: bytes, card: TokenizerCard) -> None:
    """Write a tokenizer's folder, whole or not at all: into a hidden sibling that is then renamed.

    Raises:
        ModelError: The folder exists, or cannot be written.
    """
    try:
        write_folder(folder, {WEIGHTS: model, CARD: json.dumps(asdict(card), indent=2).encode()})
    except OSError as error:
        reason = "it is there already" if folder.exists() else error.strerror or str(error)
        what = remedy(folder, error, "free space or rights, then run again")
        message = f"cannot write the tokenizer {str(folder)!r} ({reason}); {what}"
        raise ModelError(message) from error


def read_card(folder: Path) -> TokenizerCard:
    """What a tokenizer is.

    Raises:
        ConfigError: There is none, it is damaged, or a newer Triptych wrote it.
    """
    try:
        data = json.loads((folder / CARD).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"there is no tokenizer at {str(folder)!r} (it has no {CARD}); fit one with: triptych train-tokenizer"
        raise ConfigError(message) from error
    except (OSError, ValueError) as error:
        raise ConfigError(_damaged(folder, error)) from error
    version = data.get("format_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        message = f"tokenizer {str(folder)!r} has format {version}, this Triptych reads up to {FORMAT_VERSION};"
        raise ConfigError(message + " use the newer Triptych that wrote it")
    try:
        return parse(TokenizerCard, data, Place(CARD))
    except ConfigError as error:
        raise ConfigError(_damaged(folder, error)) from error


def read_model(folder: Path) -> bytes:
    """The serialised model of a tokenizer, as it was written.

    Raises:
        ConfigError: As of `read_card`.
        ModelError: The model is missing, or is not the one that was written.
    """
    card = read_card(folder)
    try:
        model = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise ModelError(_damaged(folder, error)) from error
    if fingerprint_of_model(model) != card.weights_fingerprint:
        found = f"{WEIGHTS} has the fingerprint {fingerprint_of_model(model)}, not {card.weights_fingerprint}"
        raise ModelError(_damaged(folder, found))
    return model


def fingerprint_of_model(model: bytes) -> str:
    """Hash of a serialised model, 16 hexadecimal digits."""
    return fingerprint_of(model)


def newest_maker(store: Store) -> str:
    """What `get_extractor` makes the tokens of a store's newest tokenizer by.

    Raises:
        ConfigError: The store has none.
    """
    newest = newest_tokenizer(store)
    if newest is None:
        message = f"the store {store.root!r} has no tokenizer, which the extractor 'tokens' needs; fit one with: "
        raise ConfigError(message + f"triptych --store {store.root} train-tokenizer")
    return f"tokens:{tokenizer_folder(store, newest)}"


def maker_in(store: Store, spec: FeatureSpec) -> str:
    """What `get_extractor` makes the extractor of a spec by: tokens by the store's own tokenizer, wherever it lies now.

    Args:
        store: The store that has features of the spec.
        spec: Of any extractor.
    """
    for ref in list_tokenizers(store) if spec.name == "tokens" else ():
        folder = tokenizer_folder(store, ref)
        if ref.version == spec.version and read_card(folder).weights_fingerprint == spec.weights_fingerprint:
            return f"tokens:{folder}"
    return spec.maker


def _damaged(folder: Path, reason: object) -> str:
    first_line = str(reason).partition("\n")[0]
    return f"tokenizer {str(folder)!r} is damaged ({first_line}); copy it again, or fit another"
