"""Models of a store: folders `<store>/models/<name>/<version>/`, versions counting up from 1."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple

from features.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from features.store.store import Store


class ModelRef(NamedTuple):
    """A registered model."""

    name: str
    version: int

    @property
    def key(self) -> str:
        """`<name>@<version>`."""
        return f"{self.name}@{self.version}"

    @property
    def table(self) -> str:
        """Table of its scores."""
        return f"scores/{self.key}"


def model_folder(store: Store, ref: ModelRef) -> Path:
    """Where a model lies."""
    return store.path / "models" / ref.name / str(ref.version)


def list_models(store: Store) -> tuple[ModelRef, ...]:
    """All registered models, by name and version."""
    found = (store.path / "models").glob("*/*/model.json")
    refs = [ModelRef(path.parent.parent.name, int(path.parent.name)) for path in found if path.parent.name.isdigit()]
    return tuple(sorted(refs))


def newest_model(store: Store, name: str) -> ModelRef | None:
    """The newest version of a model, or None."""
    return max((ref for ref in list_models(store) if ref.name == name), default=None)


def next_version(store: Store, name: str) -> int:
    """The version that the next model of a name gets: above all that lies under the name, tokenizers too."""
    folders = (store.path / "models" / name).glob("*")
    return 1 + max((int(path.name) for path in folders if path.name.isdigit()), default=0)


def find_model(store: Store, text: str) -> ModelRef:
    """The model that `NAME` (its newest version) or `NAME@VERSION` names.

    Raises:
        ModelError: There is none.
    """
    models = list_models(store)
    name, _, version = text.partition("@")
    matches = [ref for ref in models if ref.name == name and (not version or str(ref.version) == version)]
    if matches:
        return matches[-1]
    known = [ref.key for ref in models]
    near = difflib.get_close_matches(text, known, n=1)
    hint = (
        f"did you mean {near[0]!r}?"
        if near
        else f"models: {', '.join(known) or 'none; train one: triptych train sentiment'}"
    )
    message = f"there is no model {text!r} in {store.root!r}; {hint}"
    raise ModelError(message)
