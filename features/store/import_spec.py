"""What imported features are: their spec, and whether a table of theirs may take a file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

from features.errors import ConfigError
from features.fusion.settings import nearest
from features.spec import FeatureSpec, Modality

if TYPE_CHECKING:
    from features.store.feature_file import FeatureFile
    from features.store.store import Store

IMPORT = "import"
"""What makes imported features, as `FeatureSpec.made_by`: no extractor does."""

_INPUTS = {"video": "frames", "face": "frames", "audio": "audio", "voice": "audio", "text": "transcripts"}
_NAME = re.compile(r"[a-z0-9_]+")


def is_imported(spec: FeatureSpec) -> bool:
    """Whether a feature was imported: no extractor makes it."""
    return spec.made_by == IMPORT


def import_stage(spec: FeatureSpec) -> str:
    """Name of the stage in commits and dead letters."""
    return f"{IMPORT}:{spec.key}"


def spec_of_file(store: Store, file: FeatureFile, *, modality: str, name: str, version: int) -> FeatureSpec:
    """Spec of the features that a file holds: that of their table, where there is one.

    The checksum of the first file stands where that of an extractor's weights does: a model that learned from it is
    told apart from one that learned from another file of the same name.

    Raises:
        ConfigError: The modality, name or version is wrong, an extractor has the name, or the table holds something
            else: another modality, width or columns.
    """
    _check(modality, name, version)
    spec = FeatureSpec(
        name=name,
        version=version,
        modality=modality,  # type: ignore[arg-type]  # checked above
        inputs=_INPUTS[modality],  # type: ignore[arg-type]  # likewise
        shape=(file.values.shape[1],),
        rate="as imported",
        units="as imported",
        source=f"imported from {file.path.name}",
        weights_fingerprint=file.checksum,
        parameters=(("columns", ",".join(file.columns)),) if file.columns else (),
        made_by=IMPORT,
    )
    there = store.spec(spec.table) if store.has(spec.table) else None
    if there is None:
        return spec
    _refuse_other(there, spec)
    return there


def _check(modality: str, name: str, version: int) -> None:
    from features.extractors.registry import extractor_names

    modalities = list(get_args(Modality))
    if modality not in modalities:
        message = f"there is no modality {modality!r}; {nearest(modality, modalities)}write one of"
        message += f" {', '.join(modalities)}"
        raise ConfigError(message)
    if not _NAME.fullmatch(name):
        message = f"a feature cannot be called {name!r}; use a to z, digits and _"
        raise ConfigError(message)
    if name in extractor_names():
        message = f"{name!r} is the name of an extractor; give the imported feature another, such as my_{name}"
        raise ConfigError(message)
    if version < 1:
        message = f"a feature's version cannot be {version}; give 1 or more"
        raise ConfigError(message)


def _refuse_other(there: FeatureSpec, new: FeatureSpec) -> None:
    if not is_imported(there):
        message = f"{there.table} was made by the extractor {there.maker!r}; give the imported feature another name"
        raise ConfigError(message)
    for what, held, given in (
        ("of modality", there.modality, new.modality),
        ("of so many numbers:", there.shape[0], new.shape[0]),
        ("of the columns", dict(there.parameters).get("columns", ""), dict(new.parameters).get("columns", "")),
    ):
        if held != given and (what != "of the columns" or (held and given)):
            message = f"{there.table} holds vectors {what} {held}, and the file's are of {given};"
            raise ConfigError(message + f" import it under another --name, or with --version {there.version + 1}")
