"""torch.nn, as its users call it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyrnnfast._types import Array
from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.options import make_layer
from pyrnnfast.benchmark.peers.base import Peer, named
from pyrnnfast.benchmark.shapes import Workload


class PyTorch(Peer):
    """torch.nn: inference_mode for forward, autograd for training, packed sequences for ragged batches."""

    name = "PyTorch"
    packages = ("torch",)
    optional = frozenset({"proj_size"})
    stepwise = True

    def __init__(self, case: Case, threads: int) -> None:
        import torch

        super().__init__(case, threads)
        torch.set_num_threads(threads)
        shape = case.workload.shape
        kind, _, nonlinearity = case.workload.cell.partition("_")
        options: dict[str, Any] = {"nonlinearity": nonlinearity} if nonlinearity else {}
        if case.workload.option:
            options["proj_size"] = make_layer(case.workload, case.dtype).output_size
        if not case.workload.stepwise:
            options |= {"num_layers": shape.layers, "bidirectional": shape.directions == 2}
        self._layer: Any = getattr(torch.nn, kind.upper() + "Cell" * case.workload.stepwise)(
            shape.inputs, shape.hidden, dtype=getattr(torch, case.dtype.name), **options
        )
        weights = zip(self._layer.state_dict(), case.weights.values(), strict=True)
        self._layer.load_state_dict({name: torch.from_numpy(value) for name, value in weights})
        self._inference_mode: Any = torch.inference_mode
        self._utilities: Any = torch.nn.utils.rnn
        self._stack: Any = torch.stack
        self._x: Any = torch.from_numpy(case.x)
        self._row: Any = self._x[0]
        self._dy: Any = torch.from_numpy(case.dy)
        self._lengths: Any = None if case.lengths is None else torch.from_numpy(case.lengths)
        self._state: Any = None

    @classmethod
    def unable(cls, workload: Workload, task: str) -> str:
        """Say why it cannot do a task of a workload: only its LSTM has a projection."""
        lacking = "has no proj_size" if workload.option and workload.cell != "lstm" else ""
        return super().unable(workload, task) or lacking

    def call(self, task: str) -> Any:
        """Return what to time, the layer in its mode."""
        self._layer.train(task == "training")
        self._x.requires_grad_(task == "training")
        return super().call(task)

    def _run(self) -> Any:
        if self.case.workload.stepwise:
            return self._stack([_parts(state)[0] for state in self._states()])
        if self._lengths is None:
            return self._layer(self._x)[0]
        packed = self._utilities.pack_padded_sequence(self._x, self._lengths, enforce_sorted=False)
        y, _ = self._layer(packed)
        return self._utilities.pad_packed_sequence(y, total_length=len(self.case.x))[0]

    def _states(self) -> Iterator[Any]:
        """Call the cell once a step."""
        state = None
        for x in self._x.unbind():
            state = self._layer(x, state)
            yield state

    def forward(self) -> Any:
        """Compute y."""
        with self._inference_mode():
            return self._run()

    def step(self) -> Any:
        """Compute y and the state."""
        with self._inference_mode():
            if self.case.workload.stepwise:
                y, self._state = None, self._layer(self._row, self._state)
            else:
                y, self._state = self._layer(self._x, self._state)
        return y, self._state

    def training(self) -> Any:
        """Compute y and all gradients."""
        self._layer.zero_grad(set_to_none=True)
        self._x.grad = None
        y = self._run()
        y.backward(self._dy)
        return y

    def arrays(self, task: str, output: Any) -> dict[str, Array]:
        """Return the results by name."""
        if task == "training":
            gradients = (value.grad.numpy() for value in self._layer.parameters())
            named_gradients = dict(zip(self.case.weights, gradients, strict=True))
            return {"y": output.detach().numpy(), "dx": self._x.grad.numpy(), **named_gradients}
        if not self.case.workload.streaming:
            return {"y": output.numpy()}
        y, state = output
        states = [part.numpy() for part in _parts(state)]
        return named(states[0] if y is None else y.numpy(), states)


def _parts(state: Any) -> tuple[Any, ...]:
    """Return h, and c of an LSTM's state."""
    return state if isinstance(state, tuple) else (state,)
