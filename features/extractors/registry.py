"""The extractors there are: built in, or added by a package through the entry point group `triptych.extractors`."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from features.errors import ConfigError, TriptychError
from features.extractors.base import Extractor
from features.extractors.cleaned import CLEANED

if TYPE_CHECKING:
    from collections.abc import Iterable

GROUP = "triptych.extractors"

_BUILT_IN = {
    "efficientnet_lite0": "features.extractors.efficientnet:EfficientNetLite0",
    "faster_whisper": "features.extractors.faster_whisper:FasterWhisper",
    "hub_audio": "features.extractors.hub_audio:HubAudio",
    "hub_image": "features.extractors.hub_image:HubImage",
    "hub_text": "features.extractors.hub_text:HubText",
    "mel": "features.extractors.mel:Mel",
    "mfcc": "features.extractors.mfcc:Mfcc",
    "minilm": "features.extractors.minilm:MiniLM",
    "pocketsphinx": "features.extractors.pocketsphinx:PocketSphinx",
    "prosody": "features.extractors.prosody:Prosody",
    "tokens": "features.extractors.tokens:Tokens",
}


def extractor_names() -> tuple[str, ...]:
    """Names of all extractors of this environment, sorted."""
    return tuple(sorted(_entries()))


def default_extractors() -> tuple[str, ...]:
    """The extractors that run where none is named: one a modality, and the recogniser."""
    return ("pocketsphinx", "efficientnet_lite0", "mfcc", "minilm")


def get_extractor(maker: str) -> Extractor:
    """Make an extractor; its model is not loaded.

    Args:
        maker: One of `extractor_names()`; of one that takes a model or a folder, `NAME:WHICH`; and after it, for one
            that leaves something out, `+nonblack` or `+nonsilent`.

    Raises:
        ConfigError: There is none of that name, it lacks what it takes, or its package is broken.
    """
    for suffix, cleaned in CLEANED.items():
        if maker.endswith(suffix):
            return cleaned(get_extractor(maker.removesuffix(suffix)))
    name, _, which = maker.partition(":")
    entries = _entries()
    entry = entries.get(name)
    if entry is None:
        raise ConfigError(_unknown(name, sorted(entries)))
    try:
        kind = entry.load()
        _check_which(entry, getattr(kind, "takes", ""), which)
        extractor = kind(which) if which else kind()
    except TriptychError:
        raise
    except Exception as error:
        raise ConfigError(_broken(entry, f"{type(error).__name__}: {error}")) from error
    if not isinstance(extractor, Extractor):
        raise ConfigError(_broken(entry, "it is no features.extractors.base.Extractor"))
    return extractor


def takes(name: str) -> str:
    """What an extractor of that name wants to know after a colon, in words; nothing where the name says it all.

    Raises:
        ConfigError: As of `get_extractor`.
    """
    entries = _entries()
    if name not in entries:
        raise ConfigError(_unknown(name, sorted(entries)))
    try:
        return str(getattr(entries[name].load(), "takes", ""))
    except Exception as error:
        raise ConfigError(_broken(entries[name], f"{type(error).__name__}: {error}")) from error


def package_of(extractor: Extractor) -> str:
    """The installed package that an extractor's code comes from; nothing for those of Triptych itself."""
    module = type(extractor).__module__
    if module.startswith("features."):
        return ""
    found = (entry for entry in _entries().values() if entry.module == module and entry.dist is not None)
    entry = next(found, None)
    return entry.dist.name if entry is not None and entry.dist is not None else module.partition(".")[0]


def ordered(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Levels of extractors: those of a level need nothing of each other.

    Args:
        names: Extractors in any order; one named twice counts once.

    Returns:
        First what reads pictures or sound, recognisers before the others; then what reads transcripts, which
        recognisers may have written. A level with no extractor is left out.

    Raises:
        ConfigError: There is none of one of the names.
    """
    specs = list({spec.maker: spec for spec in (get_extractor(name).spec for name in names)}.values())
    base = [spec for spec in specs if spec.inputs != "transcripts"]
    base.sort(key=lambda spec: spec.output != "transcripts")
    readers = [spec for spec in specs if spec.inputs == "transcripts"]
    return tuple(tuple(spec.maker for spec in level) for level in (base, readers) if level)


@cache
def _entries() -> dict[str, EntryPoint]:
    """Entry points by name; the built-in ones win, and are there even where the package is not installed."""
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    return found | {name: EntryPoint(name, value, GROUP) for name, value in _BUILT_IN.items()}


def _unknown(name: str, names: list[str]) -> str:
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"no extractor {name!r}; {hint}there are: {', '.join(names)}"


def _check_which(entry: EntryPoint, wanted: str, which: str) -> None:
    if wanted and not which:
        message = f"extractor {entry.name!r} wants to know which: {entry.name}:{wanted}"
        raise ConfigError(message)
    if which and not wanted:
        message = f"extractor {entry.name!r} takes nothing after its name, but {which!r} was given; leave it out"
        raise ConfigError(message)


def _broken(entry: EntryPoint, reason: str) -> str:
    package = f" of the package {entry.dist.name!r}" if entry.dist else ""
    return f"cannot make the extractor {entry.name!r} from {entry.value!r}{package} ({reason}); repair or remove it"
