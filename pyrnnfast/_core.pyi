"""The compiled backend. `_backend.Backend` says what each function does; calls are positional or by name."""

from typing import Any

import numpy as np

from pyrnnfast._types import Array, Integers, Options, State

class Pack:
    def __init__(
        self,
        cell: str,
        weights: list[Array],
        num_layers: int,
        bidirectional: bool,
        bias: bool,
        isa: str | None = None,
        options: Options | None = None,
    ) -> None: ...
    @property
    def cell(self) -> str: ...
    @property
    def input_size(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def num_layers(self) -> int: ...
    @property
    def num_directions(self) -> int: ...
    @property
    def bias(self) -> bool: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def isa(self) -> str: ...
    @property
    def options(self) -> Options | None: ...

class Tape:
    @property
    def steps(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def pack(self) -> Pack: ...
    @property
    def lengths(self) -> Integers | None: ...

class Probe:
    def __init__(self, threads: int, words: int, isa: str | None = None) -> None: ...
    @property
    def threads(self) -> int: ...
    def fma(self, dtype: str, steps: int, a: float, b: float) -> tuple[float, Array]: ...
    def read(self, words: int, passes: int) -> tuple[float, int]: ...

class Stream:
    def __init__(self, pack: Pack, rows: int, num_threads: int) -> None: ...
    def step(self, x: object) -> Array | None: ...
    def use(self, pack: Pack) -> None: ...
    def state(self) -> tuple[Array, Array | None]: ...
    def set_state(self, h: Array | None, c: Array | None) -> None: ...

class TensorReader:
    def __init__(self, tensor_class: type[Any], parameter_class: type[Any]) -> None: ...

class Reuse:
    def __init__(self) -> None: ...
    frozen: bool

class TensorStack:
    def __init__(
        self,
        reader: TensorReader,
        cell: str,
        inputs: int,
        hidden: int,
        layers: int,
        bidirectional: bool,
        bias: bool,
        isa: str | None = None,
    ) -> None: ...
    def tape_sizes(self, single: bool) -> tuple[int, int]: ...
    def forward(
        self,
        weights: list[Any],
        form: str,
        x: Any,
        h0: Any,
        c0: Any,
        batch_sizes: Any,
        dropout: float,
        seed: int,
        num_threads: int,
        keep: bool,
        clear: bool,
        reuse: Reuse | None,
    ) -> tuple[Any, Any, Any, Any] | None: ...
    def backward(
        self,
        weights: list[Any],
        form: str,
        x: Any,
        batch_sizes: Any,
        tape: Any,
        dy: Any,
        dh: Any,
        dc: Any,
        wanted: list[bool],
        dropout: float,
        seed: int,
        num_threads: int,
        reuse: Reuse | None,
    ) -> tuple[Any, Any, Any, list[Any | None]] | None: ...
    def mask(self, form: str, x: Any, batch_sizes: Any, layer: int, dropout: float, seed: int) -> Any: ...

def forward(
    pack: Pack,
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
) -> tuple[Array, Array, Array | None, Tape | None]: ...
def infer(pack: Pack, x: object, state: object) -> tuple[Array, State] | None: ...
def backward(
    tape: Tape,
    dy: Array | None,
    dhT: Array | None,
    dcT: Array | None,
    input_gradient: bool,
    num_threads: int,
    dcells: Array | None = None,
    grad_norms: Array | None = None,
) -> tuple[Array | None, Array, Array | None, list[Array]]: ...
def generate(
    pack: Pack,
    embedding: Array,
    decoder_weight: Array,
    decoder_bias: Array | None,
    h0: Array | None,
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
) -> tuple[Integers, Integers, Array, Array | None]: ...
def linear(x: Array, weight: Array, bias: Array | None) -> Array: ...
def linear_backward(dy: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]: ...
def softmax_cross_entropy(
    logits: Array, targets: Integers, weights: Array | None, ignore_index: int
) -> tuple[float, Array]: ...
def adam(
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
) -> None: ...
def activation(
    name: str, x: Array, isa: str | None = None, alpha: float = 0.0, beta: float = 0.0
) -> tuple[Array, Array]: ...
def available_isas() -> list[str]: ...
def default_isa() -> str: ...
def get_num_threads() -> int: ...
def set_num_threads(num_threads: int) -> None: ...
def cgroup_processors(root: str = "") -> int: ...
def config() -> dict[str, str]: ...
