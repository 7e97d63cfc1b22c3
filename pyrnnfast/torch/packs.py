"""Reuse of packed weights between calls in inference.

Weights are packed into the kernels' layout. A pack is used again only when the place of each weight, its
version and a hash of all bytes that depends on their order are those that it was made from: versions alone
are not enough, for a fused optimizer, `.data`, a NumPy view and tensors of inference mode change values
without a new version. The hash reads the weights once. `freeze` spares it.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from torch import Tensor, nn

from pyrnnfast import _core

_kept: dict[int, tuple[weakref.ref[Tensor], _core.Reuse]] = {}
"""id of a stack's first weight -> that weight, its pack. It goes when the weight goes."""


def reuse_of(weights: Sequence[Tensor]) -> _core.Reuse | None:
    """What is kept for these weights; None unless they are parameters: other tensors do not stay."""
    first = weights[0]
    kept = _kept.get(id(first))
    if kept is not None and kept[0]() is first:
        return kept[1]
    if not isinstance(first, nn.Parameter):
        return None
    key, reuse = id(first), _core.Reuse()
    _kept[key] = weakref.ref(first, lambda gone: _forget(key, gone)), reuse
    return reuse


def _forget(key: int, gone: weakref.ref[Tensor]) -> None:
    if key in _kept and _kept[key][0] is gone:
        del _kept[key]


def freeze(module: nn.Module) -> nn.Module:
    """Promise that the weights' values stay, so that inference need not look for changes; returns the module.

    module: any module; its recurrent layers and cells of pyrnnfast, at any depth, are frozen. Changes that
    give a weight another place in memory or another version are still seen: assigning a parameter,
    `load_state_dict`, ordinary in-place operations. Those through `.data`, NumPy or a fused optimizer are
    not, until `unfreeze`. Copies of the module are not frozen.
    """
    return _set_frozen(module, True)


def unfreeze(module: nn.Module) -> nn.Module:
    """Take the promise of `freeze` back; returns the module."""
    return _set_frozen(module, False)


def _set_frozen(module: nn.Module, frozen: bool) -> nn.Module:
    from pyrnnfast.torch.modules import Accelerated

    for part in module.modules():
        if isinstance(part, Accelerated) and (reuse := reuse_of(part._weights())) is not None:
            reuse.frozen = frozen
    return module
