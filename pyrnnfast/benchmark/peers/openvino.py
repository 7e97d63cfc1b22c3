"""OpenVINO on the ONNX model that ONNX Runtime gets."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyrnnfast._types import Array
from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.onnx_model import build_model, join_states, state_names
from pyrnnfast.benchmark.peers.base import Peer, UnsupportedError, named


class OpenVINO(Peer):
    """OpenVINO on the CPU, which infers only: one request on shared memory, which keeps a stream's state."""

    name = "OpenVINO"
    packages = ("onnx", "openvino")
    cells = Peer.cells | {"gru_reset_before"}
    optional = frozenset({"clip"})
    tasks = ("forward",)

    def __init__(self, case: Case, threads: int) -> None:
        import openvino
        from openvino.passes import MakeStateful, Manager

        super().__init__(case, threads)
        core = openvino.Core()
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32" if case.dtype == np.float32 else "f64",
        }
        try:
            model = core.read_model(build_model(case))
            if case.workload.streaming:
                stateful = Manager()
                stateful.register_pass(MakeStateful(dict(state_names(case))))
                stateful.run_passes(model)
            request: Any = core.compile_model(model, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise UnsupportedError(f"refuses: {str(error).strip().splitlines()[-1]}") from error
        self._request = request
        self._request.set_tensor("x", openvino.Tensor(case.x, shared_memory=True))
        if case.lengths is not None:
            self._lengths = case.lengths.astype(np.int32)
            self._request.set_tensor("lengths", openvino.Tensor(self._lengths, shared_memory=True))

    def forward(self) -> Any:
        """Compute y."""
        return self._request.infer(share_outputs=True)[0]

    def step(self) -> Any:
        """Compute y; the request keeps the state."""
        return self.forward()

    def arrays(self, task: str, output: Any) -> dict[str, Array]:
        """Return the results by name."""
        if not self.case.workload.streaming:
            return {"y": output}
        kept = {state.name: state.state.data for state in self._request.query_state()}
        states = [
            next(value for name, value in kept.items() if name.startswith(begin))
            for begin, _ in state_names(self.case)
        ]
        return named(output, join_states(self.case, states))
