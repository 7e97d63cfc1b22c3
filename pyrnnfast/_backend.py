"""Which backend computes: the compiled `pyrnnfast._core`, or `pyrnnfast.reference` in plain NumPy.

Both have the functions of the protocol `Backend`. They are called after validation only: arrays are
C-contiguous, aligned, in native byte order and of one dtype, float32 or float64.

Two variables of the environment choose, at import: PYRNNFAST_BACKEND, "core" (default) or "reference", and
PYRNNFAST_ISA, the instruction set that "core" takes by default; "reference" has none and ignores it.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from pyrnnfast._sizes import Recurrent
from pyrnnfast._types import Array, Integers, State

BACKENDS = {"core": "pyrnnfast._core", "reference": "pyrnnfast.reference"}


class PackHandle(Recurrent, Protocol):
    """Weights as the kernels read them; a copy of the values that were given."""

    @property
    def input_size(self) -> int:
        """C."""

    @property
    def bias(self) -> bool:
        """Whether there are bias_ih and bias_hh."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""

    @property
    def isa(self) -> str:
        """The instruction set that runs."""


class TapeHandle(Protocol):
    """What a forward in training keeps for backward; opaque but for these."""

    @property
    def steps(self) -> int:
        """T."""

    @property
    def rows(self) -> int:
        """N."""

    @property
    def pack(self) -> PackHandle:
        """The weights that the forward used."""

    @property
    def lengths(self) -> Integers | None:
        """The rows' lengths, [N]."""


class StreamHandle(Protocol):
    """A stack of one direction that is fed step by step; the state is zero at first."""

    def step(self, x: object) -> Array | None:
        """x [N, C] -> a view of the output [N, H]; None, and no step, if x is not as the kernels read it."""

    def use(self, pack: PackHandle) -> None:
        """Go on with other weights for the same layer."""

    def state(self) -> tuple[Array, Array | None]:
        """h and c [L, N, H], copies; c for the LSTM."""

    def set_state(self, h: Array | None, c: Array | None) -> None:
        """Copy h and c [L, N, H] in; None for zeros."""


class Backend(Protocol):
    """What a backend has."""

    @property
    def Pack(self) -> type[Any]:
        """Pack(cell, weights, num_layers, bidirectional, bias, isa=None, options=None).

        weights: for each layer, for each direction: weight_ih, weight_hh, with bias bias_ih, bias_hh, then
        those of `_sizes.extras`.
        """

    @property
    def Stream(self) -> Callable[[PackHandle, int, int], StreamHandle]:
        """Stream(pack, rows, num_threads)."""

    @property
    def Tape(self) -> type[Any]:
        """The class of tapes."""

    def forward(
        self,
        pack: PackHandle,
        x: Array | Integers,
        h0: Array | None,
        c0: Array | None,
        lengths: Integers | None,
        dropout: float,
        seed: int,
        training: bool,
        num_threads: int,
        embedding: Array | None = None,
        cells: Array | None = None,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ) -> tuple[Array, Array, Array | None, TapeHandle | None]:
        """x [T, N, C] -> y [T, N, D * H], hT and cT [L * D, N, H], tape.

        With embedding [V, C] the input is embedding[x], x [T, N] int64; backward's dx is the embedding's.
        cells [T, N, D * H], of zeros, takes the cell state of every step of the top layer.
        """

    def infer(self, pack: PackHandle, x: object, state: object) -> tuple[Array, State] | None:
        """A call of the layer that needs no validation -> y, final state, as `functional.forward` gives them.

        None, and nothing is done, unless x [T, N, C] and the state (None for zeros) are arrays as the kernels
        read them; or where the call is large, so that its validation does not count.
        """

    def backward(
        self,
        tape: TapeHandle,
        dy: Array | None,
        dhT: Array | None,
        dcT: Array | None,
        input_gradient: bool,
        num_threads: int,
        dcells: Array | None = None,
        grad_norms: Array | None = None,
    ) -> tuple[Array | None, Array, Array | None, list[Array]]:
        """Gradients of the outputs -> dx, dh0, dc0, gradients in the order of the weights.

        grad_norms: float64 [L * D, T], which gets the norm of dL/dh at each step.
        """

    def generate(
        self,
        pack: PackHandle,
        embedding: Array,
        decoder_weight: Array,
        decoder_bias: Array | None,
        h0: Array,
        c0: Array | None,
        first: Integers,
        length: int,
        temperature: float,
        top_k: int,
        top_p: float,
        stop: int,
        banned: Array,
        redraw: int,
        seed: int,
        num_threads: int,
    ) -> tuple[Integers, Integers, Array, Array | None]:
        """Draw N sequences -> tokens [N, length], lengths [N], hT and cT; see `reference.sampling`."""

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        """x [M, C], weight [V, C], bias [V] -> y [M, V]."""

    def linear_backward(self, dy: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
        """dy [M, V], x [M, C], weight [V, C] -> dx, dW, db."""

    def softmax_cross_entropy(
        self, logits: Array, targets: Integers, weights: Array | None, ignore_index: int
    ) -> tuple[float, Array]:
        """logits [M, V], targets [M], weights [M] -> weighted mean, gradient; see `reference.losses`."""

    def adam(
        self,
        parameter: Array,
        gradient: Array,
        exp_avg: Array,
        exp_avg_sq: Array,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        decoupled: bool,
        step: int,
    ) -> None:
        """Change a parameter [M] and its averages in place; see `reference.optim`."""

    def available_isas(self) -> list[str]:
        """Names of the instruction sets that run here, best first."""

    def default_isa(self) -> str:
        """The one that runs unless another is asked for."""

    def set_num_threads(self, num_threads: int) -> None:
        """Set the process's number of threads."""

    def get_num_threads(self) -> int:
        """Return the number of threads that a call uses by default."""

    def config(self) -> dict[str, str]:
        """Return the facts about the build and the machine."""


@functools.cache
def current() -> Backend:
    """Return the backend that the environment variable PYRNNFAST_BACKEND names ("core" when it is unset).

    Raises ValueError for an unknown name, also in PYRNNFAST_ISA, ImportError when the compiled backend was
    not built.
    """
    name = os.environ.get("PYRNNFAST_BACKEND") or "core"
    if name not in BACKENDS:
        raise ValueError(f"PYRNNFAST_BACKEND must be one of {', '.join(BACKENDS)}, got {name!r}")
    try:
        return cast(Backend, importlib.import_module(BACKENDS[name]))
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == BACKENDS[name]:
            raise not_built(BACKENDS[name]) from error
        if str(error).startswith("instruction set"):  # an import turns every error of C++ into this one
            raise ValueError(f"PYRNNFAST_ISA: {error}") from None
        raise


def for_command() -> bool:
    """Whether it is the command `pyrnnfast` that imports the package: it tells an error in one line."""
    program = sys.argv[0] if sys.argv else ""
    return Path(program).name == "pyrnnfast" or (program == "-m" and "pyrnnfast" in sys.orig_argv)


def not_built(module: str) -> ImportError:
    """Return the error for a compiled module that is not there: mostly the checkout hides an installation."""
    return ImportError(
        f"{module} is not built in {Path(__file__).parent}: start Python outside of that checkout to get an "
        "installed pyrnnfast, or build it there (pip install -e .)",
        name=module,
    )
