"""Reuse of packed weights between calls: in inference, and for steps of cells in training.

Weights are packed into the kernels' layout. A pack is used again only when the network, the place of each
weight, its version and a hash of all bytes that depends on their order are those that it was made from:
versions alone are not enough, for a fused optimizer, `.data`, a NumPy view and tensors of inference mode
change values without a new version. The hash reads the weights once. `freeze` spares it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pyrnnfast import _core
from pyrnnfast.torch.kernels import MisfitError

_swaps: Any = torch.__future__.get_swap_module_params_on_conversion
_kept: dict[tuple[int, ...], tuple[list[weakref.ref[Tensor]], _core.Reuse]] = {}
"""ids of a stack's weights -> those weights, their pack. It goes when one of them goes."""


def reuse_of(weights: Sequence[Tensor]) -> _core.Reuse | None:
    """What is kept for these very weights; None unless all are parameters: other tensors do not stay.

    Nor is anything kept while PyTorch swaps parameters to convert them: it insists on no weak references, and
    a weight may be shared with a module that is none of ours.
    """
    kept = _kept.get(tuple(map(id, weights)))
    if kept is not None:
        return kept[1]
    if _swaps() or not all(isinstance(weight, nn.Parameter) for weight in weights):
        return None
    return _keep(weights)


def unfrozen_reuse_of(weights: Sequence[Tensor]) -> _core.Reuse | None:
    """The same in training, where values do change: None if they are frozen."""
    reuse = reuse_of(weights)
    return None if reuse is None or reuse.frozen else reuse


def _keep(weights: Sequence[Tensor]) -> _core.Reuse:
    """Begin anew for these weights."""
    key, reuse = tuple(map(id, weights)), _core.Reuse()
    _kept[key] = [weakref.ref(weight, lambda gone: _forget(key, gone)) for weight in weights], reuse
    return reuse


def _forget(key: tuple[int, ...], gone: weakref.ref[Tensor]) -> None:
    if key in _kept and any(ref is gone for ref in _kept[key][0]):
        del _kept[key]


def let_swap(module: Any) -> None:
    """Where PyTorch is about to swap a module's parameters, drop what was kept for them before it swapped."""
    if _swaps():
        _drop(module._parameters.values())


def _drop(weights: Iterable[Any]) -> None:
    """Drop what is kept for stacks of which one of these is a weight."""
    ids = set(map(id, weights))
    for key in [key for key in list(_kept) if not ids.isdisjoint(key)]:
        _kept.pop(key, None)


def freeze(module: nn.Module) -> nn.Module:
    """Promise that the weights' values stay, so that inference need not look for changes; returns the module.

    module: any module; its recurrent layers and cells of pyrnnfast, at any depth, are frozen. Changes that
    give a weight another place in memory or another version are still seen: assigning a parameter,
    `load_state_dict`, ordinary in-place operations. Those through `.data`, NumPy or a fused optimizer, and
    any of weights that were made in inference mode, are not, until `unfreeze`. Copies of the module are not
    frozen, and parametrized modules cannot be. Raises TypeError if module is no module.
    """
    return _set_frozen(module, True)


def unfreeze(module: nn.Module) -> nn.Module:
    """Take the promise of `freeze` back; returns the module. Raises TypeError if it is no module."""
    return _set_frozen(module, False)


def _set_frozen(module: nn.Module, frozen: bool) -> nn.Module:
    from pyrnnfast.torch.modules import Accelerated

    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    for part in module.modules():
        if not isinstance(part, Accelerated):
            continue
        if not frozen:  # what was frozen before a weight was assigned or parametrized, too
            _drop(part.parameters())  # type: ignore[attr-defined]
            continue
        if parametrize.is_parametrized(part):
            continue  # it has new weights at each call
        try:
            weights = part._pyrnnfast_weights()
        except MisfitError:
            continue
        reuse = reuse_of(weights)
        if reuse is not None and not reuse.frozen:
            # an edit before the promise is none that it covers: nothing that was packed before serves it
            _keep(weights).frozen = True
    return module
