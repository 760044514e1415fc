"""Items that are alike go through a model together, so that none is padded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    Item = TypeVar("Item")


def in_groups(
    items: Sequence[Item],
    key: Callable[[Item], Hashable],
    work: Callable[[list[Item]], Any],
    *,
    most: Callable[[Item], int] | None = None,
) -> list[Any]:
    """Results of a function that takes items of equal key together.

    Args:
        items: Items in any order.
        key: What items that go together have in common.
        work: From some items to as many results.
        most: How many like an item go together at most; None: all.

    Returns:
        A result an item, in the order of the items.
    """
    by_key: dict[Hashable, list[int]] = {}
    for index, item in enumerate(items):
        by_key.setdefault(key(item), []).append(index)
    results: dict[int, Any] = {}
    for indexes in by_key.values():
        size = max(1, most(items[indexes[0]])) if most else len(indexes)
        for begin in range(0, len(indexes), size):
            some = indexes[begin : begin + size]
            results |= zip(some, work([items[index] for index in some]), strict=True)
    return [results[index] for index in range(len(items))]
