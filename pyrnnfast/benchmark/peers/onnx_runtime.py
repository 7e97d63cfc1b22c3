"""ONNX Runtime on a model of standard operators made in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyrnnfast._types import Array
from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.onnx_model import build_model, join_states, state_names
from pyrnnfast.benchmark.peers.base import Peer, named


class OnnxRuntime(Peer):
    """ONNX Runtime, which infers only.

    A step runs on bound memory, the quickest way there is: two bindings, and each reads the state that the
    other one wrote.
    """

    name = "ONNX Runtime"
    packages = ("onnx", "onnxruntime")
    cells = Peer.cells | {"gru_reset_before"}
    optional = frozenset({"peephole", "coupled", "clip", "activations", "reset_after"})
    tasks = ("forward",)

    def __init__(self, case: Case, threads: int) -> None:
        import onnxruntime

        super().__init__(case, threads)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            build_model(case), options, providers=["CPUExecutionProvider"]
        )
        self._feed: dict[str, Array] = {"x": case.x}
        if case.lengths is not None:
            self._feed["lengths"] = case.lengths.astype(np.int32)
        if case.workload.streaming:
            self._bind(onnxruntime.OrtValue.ortvalue_from_numpy)

    def _bind(self, value: Any) -> None:
        names = state_names(self.case)
        shape = self.case.workload.shape
        size = (shape.directions, shape.rows, shape.hidden)
        x, y = value(self.case.x), value(np.zeros_like(self.case.dy))
        states = [[value(np.zeros(size, self.case.dtype)) for _ in names] for _ in range(2)]
        self._bindings: list[Any] = []
        for before, after in (states, states[::-1]):
            binding = self._session.io_binding()
            binding.bind_ortvalue_input("x", x)
            binding.bind_ortvalue_output("y", y)
            for (begin, end), old, new in zip(names, before, after, strict=True):
                binding.bind_ortvalue_input(begin, old)
                binding.bind_ortvalue_output(end, new)
            self._bindings.append(binding)

    def forward(self) -> Any:
        """Compute y."""
        return self._session.run(None, self._feed)

    def step(self) -> Any:
        """Compute y and the state."""
        binding = self._bindings[0]
        self._session.run_with_iobinding(binding)
        self._bindings.reverse()
        return binding

    def arrays(self, task: str, output: Any) -> dict[str, Array]:
        """Return the results by name."""
        if not self.case.workload.streaming:
            return {"y": np.asarray(output[0])}
        y, *states = output.copy_outputs_to_cpu()
        return named(y, join_states(self.case, states))
