"""Writes `quickstart.ipynb` from `quickstart.py`, which marks its cells by `# %%`: `python examples/notebook.py`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("quickstart.py")
NOTEBOOK = SCRIPT.with_suffix(".ipynb")
_MARK = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)


def notebook_of(script: str) -> str:
    """The notebook with the script's cells, without outputs, as JSON (nbformat 4.5).

    Args:
        script: Cells that begin with `# %%`, or with `# %% [markdown]` where all their lines are comments.
    """
    _, *parts = _MARK.split(script)
    marks_and_texts = zip(parts[::2], parts[1::2], strict=True)
    cells = [_cell(number, bool(mark), text.strip("\n")) for number, (mark, text) in enumerate(marks_and_texts)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    content = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _cell(number: int, is_prose: bool, text: str) -> dict[str, Any]:
    lines = [re.sub("^# ?", "", line) for line in text.split("\n")] if is_prose else text.split("\n")
    source = [f"{line}\n" for line in lines[:-1]] + lines[-1:]
    cell = {"cell_type": "markdown" if is_prose else "code", "id": f"cell-{number:02}", "metadata": {}}
    return (
        {**cell, "source": source} if is_prose else {**cell, "execution_count": None, "outputs": [], "source": source}
    )


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook_of(SCRIPT.read_text(encoding="utf-8")), encoding="utf-8")
