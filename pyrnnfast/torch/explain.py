"""`explain`: which modules of a model compute with the kernels, and why not where they do not."""

from __future__ import annotations

from typing import Any

from torch.nn.utils import parametrize

from pyrnnfast._columns import print_columns
from pyrnnfast.torch.swap import check_model, is_ours, is_recurrent, why_not

HEAD = ("module", "class", "backend", "kernels", "PyTorch", "why not the kernels")
NUMBERS = (3, 4)
"""The columns that are aligned to the right."""


def explain(model: Any) -> None:
    """Print a table of the recurrent modules of a model.

    model: a `torch.nn.Module`, accelerated or not. A line for each module: its name in the model, its class
    now, the backend, how many calls ran on the kernels and how many on PyTorch's code since it was
    accelerated, and why: for a module that was left alone the reason, for the others that of each call that
    the kernels did not reach, with their number. Calls of compiled graphs are not counted.
    Raises TypeError if model is no module.
    """
    check_model(model)
    lines = [_line(name, module) for name, module in model.named_modules() if is_recurrent(module)]
    print_columns(HEAD, lines, NUMBERS)
    if not lines:
        print("(no recurrent module)")


def _line(name: str, module: Any) -> tuple[str, ...]:
    cls = parametrize.type_before_parametrizations(module)
    reason = why_not(module)
    backend = kernels = others = "-"
    if is_ours(module):
        counts = dict(getattr(module, "_pyrnnfast_counts", {}))
        backend = getattr(module, "_pyrnnfast_backend", "auto")
        kernels = str(counts.pop("kernels", 0))
        others = str(sum(counts.values()))
        reason = reason or "; ".join(f"{why} ({number})" for why, number in counts.items())
    elif reason is None:
        reason = "not accelerated"
    return name or "(the model)", _shown(cls), backend, kernels, others, reason


def _shown(cls: type[Any]) -> str:
    """A class by the name that users import it by, for PyTorch's and ours."""
    module = cls.__module__
    for package in ("torch.nn", "pyrnnfast.torch"):
        if module.startswith(package + "."):
            module = package
    return f"{module}.{cls.__qualname__}"
