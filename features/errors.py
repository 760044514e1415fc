"""The one tree of errors that Triptych raises.

Every message has three parts: what went wrong, which value, what to do. Arguments are positional, so that
an error survives pickling between worker processes.
"""

from __future__ import annotations


class TriptychError(Exception):
    """Base of every error that Triptych raises on purpose."""


class MediaError(TriptychError):
    """A media file cannot be used."""


class FetchError(MediaError):
    """A remote source cannot be looked at or copied."""


class DecodeError(MediaError):
    """A media file cannot be opened or decoded."""


class DecoderCrashError(DecodeError):
    """The process that decodes a media died of it: by a signal, an abort or an exit."""


class DecoderTimeoutError(DecodeError):
    """Decoding a media took longer than its length allows, or gave no sign of life."""


class DecoderMemoryError(DecodeError):
    """Decoding a media asked for more memory than it may have."""


class MissingStreamError(MediaError):
    """A media file has none of the streams that were asked for."""


class LimitExceeded(MediaError):
    """A media file, or the work on it, passed a stated limit."""


class AllMediaFailedError(MediaError):
    """Not one of several sources of a wave could be used: the cause is rather with the machine than with each file."""


class ExtractionError(TriptychError):
    """An extractor cannot compute its output."""


class TranscriptionError(ExtractionError):
    """A speech recogniser or a subtitle parser cannot produce text."""


class SchemaError(TriptychError):
    """Rows or files do not have the schema that their table states."""


class StoreError(TriptychError):
    """A feature store is missing, unreadable, or refuses a write."""


class SandboxError(TriptychError):
    """The process that decodes cannot be started, or does not answer; no media is to blame."""


class ModelError(TriptychError):
    """A model is missing, damaged, or cannot be trained from the data given."""


class ConfigError(TriptychError):
    """A flag, a recipe, a manifest or another input by the user is wrong."""


class ConsentError(TriptychError):
    """The use of a media is not covered by its consent."""
