"""A graph cut around the nodes that the kernels run: its parts, in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pyrnnfast.onnx.graph import Graph
from pyrnnfast.onnx.layers import WEIGHTS, has_constant_weights
from pyrnnfast.onnx.nodes import RecurrentNode


class Part(NamedTuple):
    """Nodes that are run in one call."""

    places: tuple[int, ...]
    """In the graph; one alone where the kernels run it."""
    inputs: list[str]
    outputs: dict[str, str]
    """Each value with the operator's own name for it (where the kernels run it)."""


def cut(graph: Graph, taken: Mapping[int, RecurrentNode]) -> list[Part]:
    """Return the parts of a graph, of which each reads only what those before it make.

    taken: by their places the nodes that get a part of their own. The others are put together in as few parts
    as there are generations of taken ones. What no output needs is left out, and so are weights of taken
    nodes, and nodes that only join their directions: such a part makes "joined" as well.
    """
    inputs: dict[int, list[str]] = {}
    outputs: dict[int, dict[str, str]] = {}
    dropped: set[int] = set()
    for place, node in taken.items():
        fixed = WEIGHTS if has_constant_weights(graph, node) else ()
        inputs[place] = sorted({value for name, value in node.inputs.items() if name not in fixed})
        outputs[place] = {value: name for name, value in node.outputs.items()}
        for join in graph.joins(node):
            outputs[place][join.target] = "joined"
            dropped.update(join.nodes)
    for place, each in enumerate(graph.nodes):
        if place not in taken and place not in dropped:
            inputs[place] = sorted(graph.reads[place])
            outputs[place] = {name: name for name in each.output if name}

    needed = set(graph.outputs)
    live = []
    for place in sorted(inputs, reverse=True):
        if not needed.isdisjoint(outputs[place]):
            needed.update(inputs[place])
            live.append(place)

    stages: dict[int, list[int]] = {}
    ready: dict[str, int] = {}  # the first stage that can read a value
    for place in reversed(live):
        stage = max((ready.get(name, 0) for name in inputs[place]), default=0)
        stages.setdefault(stage, []).append(place)
        ready.update((name, stage + (place in taken)) for name in outputs[place])

    parts = []
    for _, places in sorted(stages.items()):
        rest = tuple(place for place in places if place not in taken)
        if rest:
            parts.append(_together(graph, rest, live, inputs, outputs))
        for place in places:
            if place in taken:
                made = {value: name for value, name in outputs[place].items() if value in needed}
                parts.append(Part((place,), inputs[place], made))
    return parts


def _together(
    graph: Graph,
    places: tuple[int, ...],
    live: Sequence[int],
    inputs: Mapping[int, Sequence[str]],
    outputs: Mapping[int, Mapping[str, str]],
) -> Part:
    made = {name: name for place in places for name in outputs[place]}
    wanted = {*graph.outputs, *(name for place in live if place not in places for name in inputs[place])}
    read = {name for place in places for name in inputs[place]} - made.keys() - graph.held
    return Part(places, sorted(read), {name: name for name in made if name in wanted})
