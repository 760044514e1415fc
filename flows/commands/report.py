"""`triptych report [--out F.html]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.store import Store
from flows.cli import EXIT_DONE
from flows.console import out, out_json
from flows.report.collect import collect
from flows.report.render import write_report

if TYPE_CHECKING:
    from flows.cli import Call


def run(call: Call) -> int:
    """Write the report."""
    store = Store.open(call.store)
    path = Path(call.arguments.out).absolute() if call.arguments.out else store.path / "report.html"
    if not path.parent.is_dir():
        message = f"there is no folder {str(path.parent)!r} for the report; make it, or name another with --out"
        raise ConfigError(message)
    write_report(collect(store), path)
    if call.arguments.json:
        out_json({"report": str(path)})
    else:
        out(str(path))
    return EXIT_DONE
