"""Adapters, one small class for each library: the same weights and inputs go in, comparable arrays come out.

To add a library, write a subclass of Peer and name it in PEERS.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from pyrnnfast._types import Array
from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.onnx_model import build_model
from pyrnnfast.benchmark.shapes import TASKS


class Peer(ABC):
    """A library set up for one case: `forward` and `training` are timed, `arrays` reads their results."""

    name: ClassVar[str]
    packages: ClassVar[Sequence[str]] = ()
    """What must be installed; the last one's version is the library's."""
    cells: ClassVar[frozenset[str]] = frozenset({"rnn_tanh", "rnn_relu", "lstm", "gru"})
    tasks: ClassVar[Sequence[str]] = tuple(TASKS)
    slow: ClassVar[bool] = False
    """Whether it is timed on fewer repeats."""

    @abstractmethod
    def __init__(self, case: Case, threads: int) -> None:
        """Take the case's weights and inputs, and compute with this many threads."""

    @classmethod
    def missing(cls) -> list[str]:
        """Return the packages that are not installed."""
        return [name for name in cls.packages if importlib.util.find_spec(name) is None]

    @classmethod
    def version(cls) -> str:
        """Return the version of the library."""
        return importlib.metadata.version(cls.packages[-1])

    @abstractmethod
    def forward(self) -> Any:
        """Compute y, keeping nothing for a backward."""

    def training(self) -> Any:
        """Compute y and the gradients of the input and every weight for the case's dy."""
        raise NotImplementedError(f"{self.name} does not train")

    @abstractmethod
    def arrays(self, task: str, output: Any) -> dict[str, Array]:
        """Return y, and for training dx and each weight's gradient, of what forward or training returned."""


class Ours(Peer):
    """This package, through the layers that its users call.

    In training every call packs the weights anew, as it must after an optimizer's step.
    """

    name = "pyrnnfast"
    packages = ("pyrnnfast",)
    cells = frozenset({"rnn_tanh", "rnn_relu", "lstm", "gru", "gru_reset_before"})

    def __init__(self, case: Case, threads: int) -> None:
        from pyrnnfast import GRU, LSTM, RNN, runtime

        runtime.set_num_threads(threads)
        shape = case.workload.shape
        options: dict[str, Any] = {
            "num_layers": shape.layers,
            "bidirectional": shape.directions == 2,
            "dtype": case.dtype,
        }
        cell = case.workload.cell
        sizes = (shape.inputs, shape.hidden)
        if cell == "lstm":
            self._layer: Any = LSTM(*sizes, **options)
        elif cell.startswith("gru"):
            self._layer = GRU(*sizes, **options, reset_after=cell == "gru")
        else:
            self._layer = RNN(*sizes, **options, nonlinearity=cell.removeprefix("rnn_"))
        self._layer.load_state_dict(case.weights)
        self._case = case

    @classmethod
    def version(cls) -> str:
        """Return the version of this package, installed or not."""
        from pyrnnfast import __version__

        return __version__

    def forward(self) -> Any:
        """Compute y."""
        self._layer.eval()
        return self._layer(self._case.x)[0]

    def training(self) -> Any:
        """Compute y and all gradients."""
        layer = self._layer.train()
        with layer.update():
            pass
        layer.zero_grad()
        y, _ = layer(self._case.x)
        dx, _ = layer.backward(self._case.dy)
        return y, dx

    def arrays(self, task: str, output: Any) -> dict[str, Array]:
        """Return the results by name."""
        if task == "forward":
            return {"y": output}
        y, dx = output
        return {"y": y, "dx": dx, **self._layer.grads}


class Reference(Peer):
    """The equations in plain NumPy. Its threads are the BLAS's; threadpoolctl sets them where installed."""

    name = "NumPy"
    packages = ("numpy",)
    cells = Ours.cells
    slow = True

    def __init__(self, case: Case, threads: int) -> None:
        from pyrnnfast import reference

        self._reference: Any = reference
        shape = case.workload.shape
        weights = list(case.weights.values())
        self._pack = reference.Pack(case.workload.cell, weights, shape.layers, shape.directions == 2, True)
        self._case = case
        self._threads = threads
        if importlib.util.find_spec("threadpoolctl") is not None:
            importlib.import_module("threadpoolctl").threadpool_limits(threads, user_api="blas")

    def _forward(self, training: bool) -> Any:
        case = self._case
        return self._reference.forward(self._pack, case.x, None, None, None, 0.0, 0, training, self._threads)

    def forward(self) -> Any:
        """Compute y."""
        return self._forward(False)[0]

    def training(self) -> Any:
        """Compute y and all gradients."""
        y, _, _, tape = self._forward(True)
        dx, _, _, gradients = self._reference.backward(tape, self._case.dy, None, None, True, self._threads)
        return y, dx, gradients

    def arrays(self, task: str, output: Any) -> dict[str, Array]:
        """Return the results by name."""
        if task == "forward":
            return {"y": output}
        y, dx, gradients = output
        return {"y": y, "dx": dx, **dict(zip(self._case.weights, gradients, strict=True))}


class PyTorch(Peer):
    """torch.nn: inference_mode for forward, autograd for training."""

    name = "PyTorch"
    packages = ("torch",)

    def __init__(self, case: Case, threads: int) -> None:
        import torch

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
        self._torch: Any = torch
        self._x = torch.from_numpy(case.x)
        self._leaf = torch.from_numpy(case.x).clone().requires_grad_(True)
        self._dy = torch.from_numpy(case.dy)

    def forward(self) -> Any:
        """Compute y."""
        self._layer.eval()
        with self._torch.inference_mode():
            return self._layer(self._x)[0]

    def training(self) -> Any:
        """Compute y and all gradients."""
        layer = self._layer.train()
        layer.zero_grad(set_to_none=True)
        self._leaf.grad = None
        y, _ = layer(self._leaf)
        y.backward(self._dy)
        return y

    def arrays(self, task: str, output: Any) -> dict[str, Array]:
        """Return the results by name."""
        if task == "forward":
            return {"y": output.numpy()}
        gradients = {name: value.grad.numpy() for name, value in self._layer.named_parameters()}
        return {"y": output.detach().numpy(), "dx": self._leaf.grad.numpy(), **gradients}


class OnnxRuntime(Peer):
    """ONNX Runtime on a model of standard operators made in memory. It infers only."""

    name = "ONNX Runtime"
    packages = ("onnx", "onnxruntime")
    cells = Ours.cells
    tasks = ("forward",)

    def __init__(self, case: Case, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            build_model(case), options, providers=["CPUExecutionProvider"]
        )
        self._feed = {"x": case.x}

    def forward(self) -> Any:
        """Compute y."""
        return self._session.run(None, self._feed)[0]

    def arrays(self, task: str, output: Any) -> dict[str, Array]:
        """Return the results by name."""
        return {"y": np.asarray(output)}


PEERS: tuple[type[Peer], ...] = (Ours, PyTorch, OnnxRuntime, Reference)
"""Every adapter, ours first: the others' results are held against it."""
