"""Bytes of a text file to letters: marks, UTF-8, UTF-16, or the old code page that fits best."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from charset_normalizer import from_bytes

from features.errors import TranscriptionError

if TYPE_CHECKING:
    from pathlib import Path

    from charset_normalizer import CharsetMatches

MAX_TEXT_BYTES = 64 << 20
"""Larger than any transcript of a day; what is larger is no text that stands beside a media."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOK_BYTES = 4096
_SAMPLE_BYTES = 1 << 16
_CODE_PAGES = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp874", "koi8_r"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
)
_LATIN = ("cp1252", "cp1250", "cp1254")
_CARONS = frozenset(b"\x8a\x8e\x9a\x9e")  # Š Ž š ž: the same in both pages, but rare in the languages of cp1252
_USUAL = {
    "cp1250": "bs cs hr hu pl ro sk sl sq",
    "cp1251": "be bg kk ky mk ru sr tg uk",
    "cp1253": "el",
    "cp1254": "az tr",
    "cp1255": "he yi",
    "cp1256": "ar fa ur",
    "cp874": "th",
    "cp932": "ja",
    "cp949": "ko",
    "gb18030": "zh",
    "cp1252": "af ca da de en es fi fr ga gl is it lb nl nb nn no pt sv",
}
_CODE_PAGE_OF = {language: page for page, languages in _USUAL.items() for language in languages.split()}


def read_text(path: Path, *, language: str | None = None) -> str:
    """Text of a file, whatever its encoding.

    Args:
        path: A text file.
        language: BCP 47 tag of what it says, where known; it settles which of several code pages fits.

    Raises:
        TranscriptionError: The file cannot be read, is too large, or is no text.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_TEXT_BYTES else b""
    except OSError as error:
        message = f"cannot read {str(path)!r} ({error.strerror or error}); check that it exists and may be read"
        raise TranscriptionError(message) from error
    if size > MAX_TEXT_BYTES:
        message = f"{str(path)!r} is too large for a text ({size} bytes, {MAX_TEXT_BYTES} at most); rename or remove it"
        raise TranscriptionError(message)
    text = decode_text(content, language=language)
    if "\0" in text:
        message = f"{str(path)!r} is no text ({size} bytes, some of them zero); rename or remove it"
        raise TranscriptionError(message)
    return text


def decode_text(content: bytes, *, language: str | None = None) -> str:
    """Text of bytes, without a byte order mark: UTF-8, UTF-16, UTF-32, or a code page.

    Args:
        content: Bytes of a text.
        language: BCP 47 tag of what it says, or None.
    """
    return content.decode(encoding_of(content, language), errors="replace")


def encoding_of(content: bytes, language: str | None = None) -> str:
    """The encoding of a text, as `decode_text` takes it; what does not fit it is to be replaced."""
    marked = next((encoding for mark, encoding in _BOMS if content.startswith(mark)), None)
    encoding = marked or _without_mark(content)
    if marked or encoding != "utf-8" or _decodes(content, "utf-8") or _mostly_utf8(content):
        return encoding
    return _code_page(content, language)


def _without_mark(content: bytes) -> str:
    """UTF-16 shows by its zeros: every other byte of digits, spaces and line breaks."""
    start = content[:_LOOK_BYTES]
    if start[1::2].count(0) > len(start) // 4:
        return "utf-16-le"
    if start[::2].count(0) > len(start) // 4:
        return "utf-16-be"
    return "utf-8"


def _mostly_utf8(content: bytes) -> bool:
    """Whether it is UTF-8 but for a few broken letters: cut off in the middle of one, or damaged."""
    letters = content.decode("utf-8", errors="replace")
    good = sum(letter > "\x7f" and letter != "\ufffd" for letter in letters)
    return good > 10 * letters.count("\ufffd")


def _code_page(content: bytes, language: str | None) -> str:
    usual = _CODE_PAGE_OF.get((language or "").partition("-")[0])
    if language and language.partition("-")[0] == "zh" and any(part in language for part in ("Hant", "TW", "HK")):
        usual = "big5"
    lines = b"\n".join(line for line in content.splitlines() if not line.isascii())[:_SAMPLE_BYTES]
    if usual and _decodes(lines, usual):
        return usual
    matches = from_bytes(lines, cp_isolation=list(_CODE_PAGES))
    best = matches.best()
    if best is None:
        return "cp1252"
    return _latin(matches, lines) if best.encoding in _LATIN else best.encoding


def _latin(matches: CharsetMatches, lines: bytes) -> str:
    """Which of the Latin pages: Windows-1252 unless another fits clearly better, for their letters look alike."""
    fits = {match.encoding: match for match in matches if match.encoding in _LATIN}
    best = next(iter(fits.values()))
    if _CARONS.intersection(lines) and "cp1250" in fits:
        return "cp1250"
    western = fits.get("cp1252")
    if western is not None and western.chaos <= best.chaos + 0.01 and western.coherence >= best.coherence - 0.06:
        return "cp1252"
    return best.encoding


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
