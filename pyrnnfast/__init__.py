"""The fastest RNN on a CPU: Elman RNN, LSTM and GRU, forward and backward, on NumPy arrays."""

from __future__ import annotations

import importlib
from types import ModuleType

from pyrnnfast import _backend
from pyrnnfast.clipping import clip_grad_norm_, clip_grad_value_
from pyrnnfast.layers.cells import GRUCell, LSTMCell, RNNCell
from pyrnnfast.layers.dropout import Dropout
from pyrnnfast.layers.embedding import Embedding
from pyrnnfast.layers.jordan import JordanRNN
from pyrnnfast.layers.linear import Linear
from pyrnnfast.layers.module import Module
from pyrnnfast.layers.one_gate import OneGateGRU
from pyrnnfast.layers.recurrent import GRU, LSTM, RNN
from pyrnnfast.losses import sigmoid_cross_entropy, softmax_cross_entropy
from pyrnnfast.runtime import available_isas, get_num_threads, isa, set_num_threads, show_config

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Dropout",
    "Embedding",
    "GRUCell",
    "JordanRNN",
    "LSTMCell",
    "Linear",
    "Module",
    "OneGateGRU",
    "RNNCell",
    "__version__",
    "available_isas",
    "clip_grad_norm_",
    "clip_grad_value_",
    "get_num_threads",
    "isa",
    "set_num_threads",
    "show_config",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
]

_SUBMODULES = (
    "benchmark",
    "cli",
    "clipping",
    "diagnostics",
    "functional",
    "keras",
    "layers",
    "losses",
    "models",
    "onnx",
    "optim",
    "reference",
    "runtime",
    "sampling",
    "text",
    "torch",
    "training",
)

try:  # one that is not built, and a wrong PYRNNFAST_BACKEND or _ISA, is an error at import
    _backend.current()
except (ImportError, ValueError):
    if not _backend.for_command():
        raise


def __getattr__(name: str) -> ModuleType:
    """Import a submodule when it is first used, so that `import pyrnnfast` loads nothing but NumPy."""
    if name not in _SUBMODULES:
        raise AttributeError(f"module 'pyrnnfast' has no attribute {name!r}")
    try:
        return importlib.import_module(f"pyrnnfast.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"pyrnnfast.{name}":
            raise
        raise AttributeError(f"module 'pyrnnfast' has no attribute {name!r}") from error


def __dir__() -> list[str]:
    import importlib.util  # here, as `import pyrnnfast` is quicker without

    absent = {name for name in ("keras", "onnx", "torch") if importlib.util.find_spec(name) is None}
    return sorted({*__all__, *_SUBMODULES} - absent)
