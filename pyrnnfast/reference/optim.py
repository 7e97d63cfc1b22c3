"""The optimizers' update rules, as the backends have them: plain NumPy, in place, called after validation.

Every array is flat, C-contiguous, of one dtype and one length. The parameter and the running averages are
changed, the gradient is only read. The work goes block by block with two scratch blocks that stay in cache:
a parameter of any size is read from memory once, and nothing of its size is allocated.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np

from pyrnnfast._types import Array

BLOCK = 16384


def _blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Give the same block of every array, then two scratch blocks of its size; one block after the other."""
    size = arrays[0].size
    scratch = np.empty((2, min(size, BLOCK)), arrays[0].dtype)
    for start in range(0, size, BLOCK):
        blocks = tuple(array[start : start + BLOCK] for array in arrays)
        yield *blocks, *(part[: blocks[0].size] for part in scratch)


def _decayed(gradient: Array, parameter: Array, weight_decay: float, out: Array) -> Array:
    """Return gradient + weight_decay * parameter, written to `out` where there is something to add."""
    if weight_decay == 0:
        return gradient
    np.multiply(parameter, weight_decay, out=out)
    out += gradient
    return out


def _accumulate_square(average: Array, gradient: Array, keep: float, add: float, scratch: Array) -> None:
    """Set average = keep * average + add * gradient^2."""
    np.multiply(gradient, gradient, out=scratch)
    if add != 1:
        scratch *= add
    if keep != 1:
        average *= keep
    average += scratch


def sgd(
    parameter: Array,
    gradient: Array,
    momentum_buffer: Array | None,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    first: bool,
) -> None:
    """Stochastic gradient descent with momentum (Sutskever et al. 2013, in PyTorch's form).

    g += weight_decay p;  b = g in the first step, later momentum b + (1 - dampening) g;
    p -= lr (g + momentum b) with nesterov, else p -= lr b; without momentum_buffer p -= lr g.
    """
    if momentum_buffer is None:
        for p, g, s, t in _blocks(parameter, gradient):
            np.multiply(_decayed(g, p, weight_decay, s), lr, out=t)
            p -= t
        return
    for p, g, b, s, t in _blocks(parameter, gradient, momentum_buffer):
        g = _decayed(g, p, weight_decay, s)
        if first:
            b[...] = g
        else:
            b *= momentum
            np.multiply(g, 1 - dampening, out=t)
            b += t
        if nesterov:
            np.multiply(b, momentum, out=t)
            t += g
            t *= lr
        else:
            np.multiply(b, lr, out=t)
        p -= t


def rmsprop(
    parameter: Array,
    gradient: Array,
    square_avg: Array,
    grad_avg: Array | None,
    momentum_buffer: Array | None,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
) -> None:
    """RMSprop (Tieleman and Hinton 2012); with grad_avg the centered form (Graves 2013).

    g += weight_decay p;  v = alpha v + (1 - alpha) g^2;  v' = v, or with grad_avg
    m += (1 - alpha) (g - m), v' = v - m^2;
    u = g / (sqrt(v') + eps);  b = momentum b + u, p -= lr b with momentum_buffer, else p -= lr u.
    """
    optional = [array for array in (grad_avg, momentum_buffer) if array is not None]
    for p, g, v, *others, s, t in _blocks(parameter, gradient, square_avg, *optional):
        g = _decayed(g, p, weight_decay, s)
        _accumulate_square(v, g, alpha, 1 - alpha, t)
        if grad_avg is not None:
            m = others[0]
            np.subtract(g, m, out=t)
            t *= 1 - alpha
            m += t
            np.multiply(m, m, out=t)
            np.subtract(v, t, out=t)
            np.maximum(t, 0, out=t)  # rounding can take a variance of zero below it
            np.sqrt(t, out=t)
        else:
            np.sqrt(v, out=t)
        t += eps
        np.divide(g, t, out=t)
        if momentum_buffer is not None:
            b = others[-1]
            b *= momentum
            b += t
            np.multiply(b, lr, out=t)
        else:
            t *= lr
        p -= t


def adagrad(
    parameter: Array, gradient: Array, sum_of_squares: Array, lr: float, eps: float, weight_decay: float
) -> None:
    """Adagrad (Duchi et al. 2011); lr is this step's, decayed already.

    g += weight_decay p;  a += g^2;  p -= lr g / (sqrt(a) + eps).
    """
    for p, g, a, s, t in _blocks(parameter, gradient, sum_of_squares):
        g = _decayed(g, p, weight_decay, s)
        _accumulate_square(a, g, 1, 1, t)
        np.sqrt(a, out=t)
        t += eps
        np.divide(g, t, out=t)
        t *= lr
        p -= t


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
) -> None:
    """Adam (Kingma and Ba 2015); with `decoupled` AdamW (Loshchilov and Hutter 2019). The first step is 1.

    g += weight_decay p, with decoupled instead p *= 1 - lr weight_decay;
    m += (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g^2;
    p -= lr (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps).
    """
    root = sqrt(1 - beta2**step)
    rate = lr * root / (1 - beta1**step)
    for p, g, m, v, s, t in _blocks(parameter, gradient, exp_avg, exp_avg_sq):
        if not decoupled:
            g = _decayed(g, p, weight_decay, s)
        elif weight_decay != 0:
            p *= 1 - lr * weight_decay
        np.subtract(g, m, out=t)
        t *= 1 - beta1
        m += t
        _accumulate_square(v, g, beta2, 1 - beta2, t)
        np.sqrt(v, out=t)
        t += eps * root
        np.divide(m, t, out=t)
        t *= rate
        p -= t
