"""Keras 3 on PyTorch, through `pyrnnfast.keras`."""

from __future__ import annotations

import os
from typing import Any

from pyrnnfast._types import Array
from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.options import make_layer
from pyrnnfast.benchmark.peers.base import Peer, UnsupportedError
from pyrnnfast.benchmark.shapes import Workload


class Keras(Peer):
    """The layer that `to_keras` makes of ours: inference_mode for forward, autograd for training."""

    name = "Keras"
    packages = ("torch", "keras")
    cells = Peer.cells | {"gru_reset_before"}
    optional = frozenset({"activations", "input_dropout", "merge", "recurrent_dropout", "reset_after"})
    slow = True

    def __init__(self, case: Case, threads: int) -> None:
        os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras would take TensorFlow
        import keras
        import torch

        from pyrnnfast.keras import to_keras

        super().__init__(case, threads)
        if keras.backend.backend() != "torch":
            raise UnsupportedError(f"is measured on PyTorch, not on {keras.backend.backend()}")
        torch.set_num_threads(threads)
        layer = make_layer(case.workload, case.dtype)
        layer.load_state_dict(case.weights)
        self._layer: Any = to_keras(layer)
        self._layers: Any = self._layer.layers if layer.num_layers > 1 else [self._layer]
        self._inference_mode: Any = torch.inference_mode
        self._x: Any = torch.from_numpy(case.x.swapaxes(0, 1).copy())
        self._dy: Any = torch.from_numpy(case.dy.swapaxes(0, 1).copy())

    @classmethod
    def unable(cls, workload: Workload, task: str) -> str:
        """Say why it cannot do a task of a workload."""
        if workload.ragged or workload.streaming:
            return "is measured by whole sequences of one length"
        return super().unable(workload, task)

    def call(self, task: str) -> Any:
        """Return what to time."""
        self._x.requires_grad_(task == "training")
        return super().call(task)

    def forward(self) -> Any:
        """Compute y."""
        with self._inference_mode():
            return self._layer(self._x)

    def step(self) -> Any:
        """Raise NotImplementedError: a stream is none of its workloads."""
        raise NotImplementedError(f"{self.name} is not measured step by step")

    def training(self) -> Any:
        """Compute y and all gradients."""
        for variable in self._layer.trainable_variables:
            variable.value.grad = None
        self._x.grad = None
        y = self._layer(self._x, training=True)
        y.backward(self._dy)
        return y

    def arrays(self, task: str, output: Any) -> dict[str, Array]:
        """Return the results by name."""
        y = output.detach().numpy().swapaxes(0, 1)
        if task != "training":
            return {"y": y}
        gradients = [array for layer in self._layers for array in self._gradients(layer)]
        dx = self._x.grad.numpy().swapaxes(0, 1)
        return {"y": y, "dx": dx, **dict(zip(self.case.weights, gradients, strict=True))}

    def _gradients(self, layer: Any) -> list[Array]:
        """Return those of one layer's weights, in our layout and order."""
        from pyrnnfast.keras import weights

        cell = self.case.workload.cell
        kind = "LSTM" if cell == "lstm" else cell[:3].upper()
        two = self.case.workload.shape.directions == 2
        found: list[Array] = []
        for part in [layer.forward_layer, layer.backward_layer] if two else [layer]:
            variables = (part.cell.kernel, part.cell.recurrent_kernel, part.cell.bias)
            kernel, recurrent, bias = (variable.value.grad.numpy() for variable in variables)
            own = weights.parameters(kind, kernel, recurrent, bias)
            found += own if bias.ndim == 2 else [*own[:3], own[2]]  # one bias has the gradient of both
        return found
