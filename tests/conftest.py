"""Which tests share a worker: those that share a costly fixture, and those of a file; the longest begin first."""

from __future__ import annotations

import pytest

COSTLY = ("demo", "reference")
"""Fixtures of a whole run: made once, by the worker that has their tests."""

LONG = ("test_evidence", "test_pocketsphinx", "test_extract", "test_agreement")
"""Files whose tests take longest, after those."""


def _group(item: pytest.Item) -> str:
    shared = [name for name in COSTLY if name in getattr(item, "fixturenames", ())]
    return shared[0] if shared else item.path.stem


def _rank(item: pytest.Item) -> int:
    order = [*COSTLY, *LONG]
    group = _group(item)
    return order.index(group) if group in order else len(order)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests go together; it has an effect only where they run in several processes."""
    items.sort(key=_rank)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    for_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if for_gpu and not _has_gpu():
        for item in for_gpu:
            item.add_marker(pytest.mark.skip(reason="no GPU here: make test-gpu where there is one"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """In one of several processes: see that tests do go by groups; pytest 9.2 does not let pytest-xdist say so."""
    wanted = getattr(session.config.option, "loadgroup", False)  # only in a worker of pytest-xdist
    if wanted and session.items and "@" not in session.items[0].nodeid:
        message = "pytest-xdist does not keep groups of tests together with this pytest; install infra/constraints.txt"
        raise pytest.UsageError(message)


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())
