"""The one tree of errors that Triptych raises.

Every message has three parts: what went wrong, which value, what to do. Arguments are positional, so that
an error survives pickling between worker processes.
"""

from __future__ import annotations


class TriptychError(Exception):
    """Base of every error that Triptych raises on purpose."""


class MediaError(TriptychError):
    """A media file cannot be used."""


class DecodeError(MediaError):
    """A media file cannot be opened or decoded."""


class MissingStreamError(MediaError):
    """A media file has none of the streams that were asked for."""


class LimitExceeded(MediaError):
    """A media file, or the work on it, passed a stated limit."""


class ExtractionError(TriptychError):
    """An extractor cannot compute its output."""


class TranscriptionError(ExtractionError):
    """A speech recogniser or a subtitle parser cannot produce text."""


class SchemaError(TriptychError):
    """Rows or files do not have the schema that their table states."""


class StoreError(TriptychError):
    """A feature store is missing, unreadable, or refuses a write."""


class ModelError(TriptychError):
    """A model is missing, damaged, or cannot be trained from the data given."""


class ConfigError(TriptychError):
    """A flag, a recipe, a manifest or another input by the user is wrong."""


class ConsentError(TriptychError):
    """The use of a media is not covered by its consent."""
