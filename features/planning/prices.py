"""`prices.toml`: what a CPU hour, a gigabyte kept and a gigabyte read cost."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from features.errors import ConfigError
from features.fusion.settings import Place, parse, setting

if TYPE_CHECKING:
    from pathlib import Path

_GIGABYTE = 1e9
_DEAREST = 1e9


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in one currency; what is not stated costs nothing.

    Attributes:
        currency: Its name or sign.
        cpu_hour: Of an hour of one core at work.
        gb_month: Of keeping 10^9 bytes for a month.
        gb_read: Of reading 10^9 bytes of sources.
    """

    currency: str = setting("EUR")
    cpu_hour: float = setting(0.0, at_least=0.0, at_most=_DEAREST)
    gb_month: float = setting(0.0, at_least=0.0, at_most=_DEAREST)
    gb_read: float = setting(0.0, at_least=0.0, at_most=_DEAREST)


class Money(NamedTuple):
    """What a run costs: once, and each month for what it leaves."""

    currency: str
    cpu: float
    reading: float
    a_month: float

    @property
    def once(self) -> float:
        """CPU and reading."""
        return self.cpu + self.reading


def read_prices(path: Path) -> Prices:
    """Read a price file.

    Raises:
        ConfigError: It cannot be read, a key is unknown, or a price is no number of at least 0.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"cannot read the prices {str(path)!r} ({reason}); give a TOML file with cpu_hour, gb_month, gb_read"
        raise ConfigError(message) from error
    return parse(Prices, data, Place(str(path)))


def cost_of(prices: Prices, *, cpu_hours: float, read_bytes: float, kept_bytes: float) -> Money:
    """What that much costs."""
    return Money(
        prices.currency,
        cpu_hours * prices.cpu_hour,
        read_bytes / _GIGABYTE * prices.gb_read,
        kept_bytes / _GIGABYTE * prices.gb_month,
    )
