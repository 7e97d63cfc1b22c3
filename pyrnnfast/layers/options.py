"""The arguments that a recurrent layer was made with, to be read."""

from __future__ import annotations

from typing import Any, NoReturn


class Option:
    """One of them, read-only: weights and packs are made for it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, layer: Any, owner: type) -> Any:
        return self if layer is None else layer._given[self.name]

    def __set__(self, layer: Any, value: object) -> NoReturn:
        raise AttributeError(f"{self.name} is read-only: make another layer to change it")


class Given:
    """Each as the constructor takes it; what a layer does not have has its default."""

    _given: dict[str, Any]

    peephole = Option()
    coupled = Option()
    clip = Option()
    activations = Option()
    """Those at work, given or not, of each direction in turn: tuples of a name, alpha and beta."""
    cell_clip = Option()
    layer_norm = Option()
    proj_size = Option()
    proj_clip = Option()
    merge = Option()
    return_cells = Option()
    input_dropout = Option()
    recurrent_dropout = Option()
    zoneout = Option()
    grad_clip = Option()
    record_grad_norms = Option()
