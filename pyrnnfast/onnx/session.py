"""`InferenceSession`: a model in the call of ONNX Runtime, its recurrent nodes on the kernels."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto

from pyrnnfast import validation
from pyrnnfast._columns import print_columns
from pyrnnfast._types import Array
from pyrnnfast.onnx import graph as graphs
from pyrnnfast.onnx import layers, loading, nodes, types
from pyrnnfast.onnx.cut import Part, cut
from pyrnnfast.onnx.graph import Graph
from pyrnnfast.onnx.operator import Operator
from pyrnnfast.onnx.types import NodeArg

HEAD = ("node", "operator", "runs on", "why not the kernels")
KERNELS, RUNTIME = "pyrnnfast", "ONNX Runtime"


class _Assigned(NamedTuple):
    """A node for the kernels."""

    operator: Operator
    dtype: np.dtype[Any]


class _Step(NamedTuple):
    """One call: of the kernels, or of ONNX Runtime on a part of the model."""

    run: Callable[[dict[str, Any], Any], Sequence[Any]]
    inputs: Sequence[str]
    outputs: Sequence[str]


class InferenceSession:
    """Runs a model as ONNX Runtime does, the RNN, GRU and LSTM nodes of its main graph on the kernels.

    model: a ModelProto, its bytes, or a path. sess_options: an onnxruntime.SessionOptions, for the rest of
    the model; its intra_op_num_threads is the kernels' number of threads too. By default ONNX Runtime's
    threads do not spin when they have nothing to do, which would keep the processors from the kernels.
    providers: ONNX Runtime's, the CPU's by default.

    Left to ONNX Runtime, and listed by `explain`: nodes inside the bodies of If, Loop and Scan, nodes whose
    weights are computed from inputs, and those of other dtypes. float64 and layout 1, which
    ONNX Runtime does not have, run on the kernels. ONNX Runtime is needed where a model has other nodes.

    Raises ValueError for a model that is broken or that ONNX Runtime refuses, OSError for a file that cannot
    be read, TypeError for arguments of another type, ModuleNotFoundError where onnxruntime is needed.
    """

    def __init__(self, model: Any, sess_options: Any = None, providers: Sequence[Any] | None = None) -> None:
        _expect("sess_options", sess_options, "SessionOptions")
        threads = getattr(sess_options, "intra_op_num_threads", 0)
        name = "sess_options.intra_op_num_threads"
        self._threads = validation.integer(name, threads, 0, validation.MAX_THREADS) or None
        self._options, self._providers = sess_options, _checked_providers(providers)
        self._graph = Graph(loading.load(model))
        operators, self._table = _assign(self._graph)
        kinds = dict(self._graph.inputs)
        free = self._graph.inputs.keys() - self._graph.held
        self._checks = {name: types.Check(self._graph.inputs[name]) for name in free}
        self._required = set(self._graph.required)
        self._steps: list[_Step] = []
        self._plans: dict[tuple[str, ...], list[_Step]] = {}
        for part in cut(self._graph, {place: each.operator.node for place, each in operators.items()}):
            assigned = operators.get(part.places[0])
            if assigned is None:
                self._steps.append(self._runtime_step(part, kinds))
            else:
                self._steps.append(self._kernel_step(*assigned, part, kinds))
        read = {name for step in self._steps for name in step.inputs} | set(self._graph.outputs)
        self._constants = {name: self._graph.constant(name) for name in read & set(self._graph.initializers)}

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any], run_options: Any = None
    ) -> list[Any]:
        """Compute outputs.

        output_names: which, in which order; None for all in the model's. input_feed: an array for each input,
        by name. run_options: an onnxruntime.RunOptions, for the rest of the model.
        Returns the outputs, which share no memory with each other, the model or the feeds.
        Raises ValueError for an unknown or missing name, for an array of another shape and for lengths out of
        range, TypeError for another dtype; for what ONNX Runtime finds at run time, its own errors.
        """
        graph = self._graph
        if output_names is not None:
            validation.listed("output_names", output_names, str, "a list of names or None")
        _expect("run_options", run_options, "RunOptions")
        wanted = list(output_names or graph.outputs)
        for name in wanted:
            validation.choice("each output name", name, graph.outputs)
        if not isinstance(input_feed, Mapping):
            raise TypeError(
                f"input_feed must be a mapping of names to arrays, got {type(input_feed).__name__}"
            )
        if not self._required <= input_feed.keys() <= self._checks.keys():
            expected = f"input_feed must have {', '.join(sorted(self._required)) or 'nothing'}"
            raise ValueError(f"{expected}, got {', '.join(map(str, input_feed)) or 'nothing'}")
        for name, array in input_feed.items():
            self._checks[name](array)
        values = {**self._constants, **input_feed}
        for step in self._needed(tuple(wanted)):
            feed = {name: values[name] for name in step.inputs}
            values.update(zip(step.outputs, step.run(feed, run_options), strict=True))
        passed = self._constants.keys() | input_feed.keys()
        results: list[Any] = []
        for name in wanted:
            value = values[name]
            results.append(_copied(value) if name in passed or _shares(value, results) else value)
        return results

    def get_inputs(self) -> list[NodeArg]:
        """Return the inputs that a caller gives: name, type, shape."""
        return [types.describe(self._graph.inputs[name]) for name in self._graph.required]

    def get_outputs(self) -> list[NodeArg]:
        """Return the model's outputs: name, type, shape."""
        return [types.describe(value) for value in self._graph.model.graph.output]

    def explain(self) -> None:
        """Print a table of the recurrent nodes: what runs each, and why it is not the kernels."""
        print_columns(HEAD, self._table)
        if not self._table:
            print("(no recurrent node)")

    # --- Steps

    def _needed(self, wanted: tuple[str, ...]) -> list[_Step]:
        """Leave out the steps that nothing wanted depends on."""
        if wanted not in self._plans:
            needed = set(wanted)
            steps = []
            for step in reversed(self._steps):
                if not needed.isdisjoint(step.outputs):
                    needed.update(step.inputs)
                    steps.append(step)
            self._plans[wanted] = steps[::-1]
        return self._plans[wanted]

    def _kernel_step(
        self, operator: Operator, dtype: np.dtype[Any], part: Part, kinds: dict[str, Any]
    ) -> _Step:
        names = {name: value for name, value in operator.node.inputs.items() if value in part.inputs}
        for value, name in part.outputs.items():
            rank = 4 if name == "Y" else 3
            kinds[value] = types.value_info(value, types.NAMES[dtype.name], [None] * rank)

        def run(feed: dict[str, Any], _: Any) -> list[Array]:
            results = operator({name: feed[value] for name, value in names.items()}, self._threads)
            return [results[name] for name in part.outputs.values()]

        return _Step(run, part.inputs, list(part.outputs))

    def _runtime_step(self, part: Part, kinds: dict[str, Any]) -> _Step:
        outputs = list(part.outputs)
        model = self._graph.part(part.places, [kinds[name] for name in part.inputs], outputs)
        session = _runtime_session(model, self._options, self._providers)
        for arg in session.get_outputs():
            kinds[arg.name] = types.value_info(arg.name, arg.type, arg.shape)

        def run(feed: dict[str, Any], run_options: Any) -> list[Any]:
            found: list[Any] = session.run(outputs, feed, run_options)
            return found

        return _Step(run, part.inputs, outputs)


def _assign(graph: Graph) -> tuple[dict[int, _Assigned], list[tuple[str, str, str, str]]]:
    """Decide which nodes the kernels run; returns them by their places, and the table of `explain`."""
    operators: dict[int, _Assigned] = {}
    table = []
    for place, proto in enumerate(graph.nodes):
        if nodes.is_recurrent(proto):
            name, why = nodes.name_of(proto), None
            if graph.opset() < layers.OPSET:
                why = f"operator set {graph.opset()} is older than {layers.OPSET}"
            else:
                node = nodes.read(proto)
                constant = layers.has_constant_weights(graph, node)
                weights = layers.constant_weights(graph, node) if constant else None
                dtype = _dtype(graph, node) if weights is None else weights["W"].dtype
                if dtype is None:
                    why = "its weights are computed from the inputs"
                elif dtype not in validation.FLOATS:
                    why = f"the kernels have no {dtype}"
                else:
                    _check_types(graph, node, dtype)
                    operators[place] = _Assigned(Operator(node, weights), dtype)
            table.append((name, proto.op_type, RUNTIME if why else KERNELS, why or ""))
        for inner in graphs.nested(proto):
            if nodes.is_recurrent(inner):
                where = f"inside the body of {proto.op_type} {nodes.name_of(proto)!r}"
                table.append((nodes.name_of(inner), inner.op_type, RUNTIME, where))
    return operators, table


def _copied(value: Any) -> Any:
    return np.array(value) if hasattr(value, "__array__") else copy.deepcopy(value)


def _shares(value: Any, others: Sequence[Any]) -> bool:
    if not isinstance(value, np.ndarray):
        return any(value is other for other in others)
    return any(isinstance(other, np.ndarray) and np.may_share_memory(value, other) for other in others)


def _check_types(graph: Graph, node: nodes.RecurrentNode, dtype: np.dtype[Any]) -> None:
    """Raise ValueError unless the model's inputs that the node reads are declared as what it takes."""
    for name, value in node.inputs.items():
        declared = graph.inputs.get(value)
        if declared is not None and declared.type.WhichOneof("value"):
            want = np.dtype(np.int32) if name == "sequence_lens" else dtype
            if types.dtype(declared) != want:
                got = types.write(declared.type)
                raise ValueError(f"{node.title}: {name} must be declared as {want}, got {got}")


def _dtype(graph: Graph, node: nodes.RecurrentNode) -> np.dtype[Any] | None:
    """The dtype of a W that is an input of the model; None where W is something else."""
    value = graph.inputs.get(node.inputs["W"])
    return None if value is None else types.dtype(value)


def _expect(name: str, value: Any, kind: str) -> None:
    if value is not None and not isinstance(value, getattr(_runtime(), kind)):
        raise TypeError(f"{name} must be an onnxruntime.{kind} or None, got {type(value).__name__}")


def _checked_providers(value: Any) -> Sequence[Any]:
    for each in value if isinstance(value, (list, tuple)) else [value]:
        name = each[0] if isinstance(each, tuple) and len(each) == 2 else each
        if value is not None and (each is value or not isinstance(name, str)):
            expected = "a list of names, or of pairs of a name and options"
            raise TypeError(f"providers must be {expected}, got {type(each).__name__}")
    return value or ["CPUExecutionProvider"]


def _runtime() -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise ModuleNotFoundError(
            "the rest of a model needs ONNX Runtime: pip install 'pyrnnfast[onnx]'",
            name="onnxruntime",
        ) from None
    return onnxruntime


def _runtime_session(model: ModelProto, options: Any, providers: Sequence[Any]) -> Any:
    onnxruntime = _runtime()
    if options is None:
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=providers,
            enable_fallback=0,  # which would print, and try again
        )
    except Exception as error:  # of a dozen classes, of which none derives from ValueError
        raise ValueError(
            f"the model must be one that ONNX Runtime loads, got {loading.first_line(error)}"
        ) from None
