"""Language tags: what containers and file names say, as BCP 47."""

from __future__ import annotations

import re

_TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")
_UNKNOWN = frozenset({"und", "mis", "mul", "zxx"})

# ISO 639-2, both its codes where there are two, to ISO 639-1: BCP 47 wants the shortest there is.
_CODES = (
    "afr:af alb:sq sqi:sq amh:am ara:ar arm:hy hye:hy aze:az baq:eu eus:eu bel:be ben:bn bos:bs bul:bg bur:my "
    "mya:my cat:ca chi:zh zho:zh cze:cs ces:cs dan:da dut:nl nld:nl eng:en epo:eo est:et fao:fo fin:fi fre:fr "
    "fra:fr geo:ka kat:ka ger:de deu:de gle:ga glg:gl gre:el ell:el guj:gu hau:ha heb:he hin:hi hrv:hr hun:hu "
    "ibo:ig ice:is isl:is ind:id ita:it jav:jv jpn:ja kan:kn kaz:kk khm:km kin:rw kor:ko kur:ku lao:lo lat:la "
    "lav:lv lit:lt ltz:lb mac:mk mkd:mk mal:ml mar:mr may:ms msa:ms mlg:mg mlt:mt mon:mn nep:ne nno:nn nob:nb "
    "nor:no ori:or pan:pa per:fa fas:fa pol:pl por:pt pus:ps rum:ro ron:ro rus:ru sin:si slo:sk slk:sk slv:sl "
    "som:so spa:es srp:sr sun:su swa:sw swe:sv tam:ta tel:te tgk:tg tgl:tl tha:th tib:bo bod:bo tir:ti tuk:tk "
    "tur:tr uig:ug ukr:uk urd:ur uzb:uz vie:vi wel:cy cym:cy wol:wo xho:xh yid:yi yor:yo zul:zu"
)
_ENGLISH_NAMES = (
    "english:en chinese:zh german:de spanish:es russian:ru korean:ko french:fr japanese:ja portuguese:pt turkish:tr "
    "polish:pl dutch:nl arabic:ar swedish:sv italian:it indonesian:id hindi:hi finnish:fi vietnamese:vi hebrew:he "
    "ukrainian:uk greek:el czech:cs romanian:ro danish:da hungarian:hu norwegian:no thai:th"
)
_NAMES = dict(pair.split(":") for pair in _ENGLISH_NAMES.split())
_SHORT = dict(pair.split(":") for pair in _CODES.split())


def language_tag(code: str | None) -> str | None:
    """BCP 47 tag of a container's or a file name's language code.

    Args:
        code: An ISO 639 code, with or without subtags (`eng`, `pt_BR`), or None.

    Returns:
        The tag (`en`, `pt-BR`), or None where the code says nothing or is no code.
    """
    if code is None or not _TAG.fullmatch(code):
        return None
    language, *subtags = code.replace("_", "-").split("-")
    language = language.lower()
    if language in _UNKNOWN:
        return None
    return "-".join([_SHORT.get(language, language), *map(_subtag, subtags)])


def language_named(name: str | None) -> str | None:
    """BCP 47 tag of a language's code, or of its English name as recognisers write it (`english`)."""
    return language_tag(_NAMES.get(name.strip().lower(), name.strip())) if name else None


def _subtag(subtag: str) -> str:
    """A subtag in its usual case: `US`, `Hant`, `1996`."""
    if len(subtag) == 2:
        return subtag.upper()
    return subtag.title() if len(subtag) == 4 else subtag.lower()
