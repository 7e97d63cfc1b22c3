"""torch.nn, as its users call it."""

from __future__ import annotations

from typing import Any

from pyrnnfast._types import Array
from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.peers.base import Peer, named


class PyTorch(Peer):
    """torch.nn: inference_mode for forward, autograd for training, packed sequences for ragged batches."""

    name = "PyTorch"
    packages = ("torch",)

    def __init__(self, case: Case, threads: int) -> None:
        import torch

        super().__init__(case, threads)
        torch.set_num_threads(threads)
        shape = case.workload.shape
        kind, _, nonlinearity = case.workload.cell.partition("_")
        options: dict[str, Any] = {"nonlinearity": nonlinearity} if nonlinearity else {}
        self._layer: Any = getattr(torch.nn, kind.upper())(
            shape.inputs,
            shape.hidden,
            num_layers=shape.layers,
            bidirectional=shape.directions == 2,
            dtype=getattr(torch, case.dtype.name),
            **options,
        )
        self._layer.load_state_dict({name: torch.from_numpy(value) for name, value in case.weights.items()})
        self._inference_mode: Any = torch.inference_mode
        self._utilities: Any = torch.nn.utils.rnn
        self._x: Any = torch.from_numpy(case.x)
        self._dy: Any = torch.from_numpy(case.dy)
        self._lengths: Any = None if case.lengths is None else torch.from_numpy(case.lengths)
        self._state: Any = None

    def call(self, task: str) -> Any:
        """Return what to time, the layer in its mode."""
        self._layer.train(task == "training")
        self._x.requires_grad_(task == "training")
        return super().call(task)

    def _run(self) -> Any:
        if self._lengths is None:
            return self._layer(self._x)[0]
        packed = self._utilities.pack_padded_sequence(self._x, self._lengths, enforce_sorted=False)
        y, _ = self._layer(packed)
        return self._utilities.pad_packed_sequence(y, total_length=len(self.case.x))[0]

    def forward(self) -> Any:
        """Compute y."""
        with self._inference_mode():
            return self._run()

    def step(self) -> Any:
        """Compute y and the state."""
        with self._inference_mode():
            output = self._layer(self._x, self._state)
        self._state = output[1]
        return output

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
            gradients = {name: value.grad.numpy() for name, value in self._layer.named_parameters()}
            return {"y": output.detach().numpy(), "dx": self._x.grad.numpy(), **gradients}
        if not self.case.workload.streaming:
            return {"y": output.numpy()}
        y, state = output
        return named(y.numpy(), [part.numpy() for part in (state if isinstance(state, tuple) else [state])])
