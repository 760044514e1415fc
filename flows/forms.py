"""A flow's parameters from a configuration: flat, typed fields, so that the form of a run can be filled in."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, get_origin

from pipelines.options import default_of, option_fields

if TYPE_CHECKING:
    from collections.abc import Callable


def with_parameters_of(
    config: type[Any], **more: tuple[Any, Any]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a function of keyword arguments the parameters of a configuration.

    Args:
        config: Dataclass of options; tuples become lists.
        **more: Further parameters before them: name = (type, default).

    Returns:
        A decorator. The function's docstring gets a line a parameter, which the form shows as help.
    """
    fields = {name: (kind, default) for name, (kind, default) in more.items()}
    helps = {}
    options = sorted(option_fields(config).items(), key=lambda option: not option[1][0].metadata["positional"])
    for name, (item, kind) in options:
        is_tuple = get_origin(kind) is tuple
        fields[name] = (list[str], list(default_of(item))) if is_tuple else (kind, default_of(item))
        helps[name] = item.metadata["help"]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        parameters = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
            for name, (kind, default) in fields.items()
        ]
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        function.__annotations__ = {name: kind for name, (kind, _) in fields.items()}
        lines = [f"    {name}: {text}" for name, text in helps.items()]
        function.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Args:", *lines])
        return function

    return decorate
