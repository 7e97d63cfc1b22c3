"""Where the kernels do not reach: PyTorch's own code runs then, and is counted.

A module may have two attributes of ours, neither of which must exist: `_pyrnnfast_backend`, "auto" (default)
or "strict", which raises instead of falling back; and `_pyrnnfast_counts`, calls by reason, those that ran on
the kernels under "kernels". Nothing is counted in traced code: a graph would be compiled anew at each call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence

KERNELS = "kernels"
MISFIT = "arguments that the kernels do not take"
PLAIN = (Tensor, nn.Parameter, type(None))
FLOATS = (torch.float32, torch.float64)

_autocasts: Any = torch._C._is_any_autocast_enabled
_transforms: Any = torch._C._are_functorch_transforms_active  # which torch.compile folds
_trace: Any = torch._C._get_tracing_state
_modes: Any = torch._C._len_torch_dispatch_stack
_included: Any = torch._C._dispatch_tls_is_dispatch_key_included
_VMAP: Any = torch._C._dispatch_key_parse("VmapMode")  # at each call it would take 3 us


def reason(module: nn.Module, input: Any, hx: Any = None) -> str | None:
    """Say why a call is PyTorch's own to run; None if it is for the kernels, shapes apart.

    An x that is no tensor gets None too: the kernels refuse it, and PyTorch's code then raises its error.
    """
    x = input
    if type(x) is not Tensor:
        x = input[0] if isinstance(input, PackedSequence) else input
        if not isinstance(x, Tensor):
            return None
    if getattr(module, "proj_size", 0):
        return "proj_size"
    if not x.is_cpu:
        return f"device {x.device.type}"
    if x.dtype not in FLOATS:
        return f"dtype {x.dtype}"
    within = transformed()
    if within is not None:
        return within
    if torch.compiler.is_compiling():
        if torch.is_autocast_enabled("cpu"):
            return "autocast"
        return "torch.onnx.export" if torch.onnx.is_in_onnx_export() else None
    if _autocasts():
        return "autocast"
    if _trace() is not None:
        return "torch.onnx.export" if torch.onnx.is_in_onnx_export() else "torch.jit.trace"
    if _modes() == 0:
        for tensor in (x, *hx) if isinstance(hx, (tuple, list)) else (x, hx):
            if type(tensor) not in PLAIN and isinstance(tensor, Tensor):
                return f"tensors of class {type(tensor).__name__}"
    return None


def transformed() -> str | None:
    """Say which transform of PyTorch's is at work that the kernels know nothing of; None if none is."""
    if forward_ad._current_level >= 0:
        return "forward-mode AD"
    return "a transform of torch.func" if _transforms() else None


def batched() -> bool:
    """Whether the vmap of is_grads_batched is at work, which is none of torch.func."""
    found: bool = _included(_VMAP)
    return found


def dual(tensors: Iterable[Tensor | None]) -> bool:
    """Whether one of them has a tangent."""
    if forward_ad._current_level < 0:
        return False
    return any(t is not None and forward_ad.unpack_dual(t).tangent is not None for t in tensors)


def traced() -> bool:
    """Whether the call must be one operator: it goes into a graph, or a mode looks at each operator."""
    compiling: bool = torch.compiler.is_compiling()
    return compiling or _modes() > 0


def count(module: nn.Module, why: str) -> None:
    """Count a call by the reason; nothing in compiled code."""
    if torch.compiler.is_compiling():
        return
    own = module.__dict__
    counts = own.get("_pyrnnfast_counts")
    if counts is None:
        counts = own["_pyrnnfast_counts"] = {}
    counts[why] = counts.get(why, 0) + 1


def refuse(module: nn.Module, why: str) -> None:
    """Raise RuntimeError in strict mode."""
    if module.__dict__.get("_pyrnnfast_backend", "auto") == "strict":
        name = type(module).__name__
        raise RuntimeError(f"backend must be 'auto' for {name} to fall back, got 'strict' and {why}")
