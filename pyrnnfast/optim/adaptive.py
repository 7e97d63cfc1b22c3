"""Optimizers that scale each number's step by the size of its past gradients."""

from __future__ import annotations

from pyrnnfast import _backend
from pyrnnfast._types import Array
from pyrnnfast.layers.module import Module
from pyrnnfast.optim.base import Optimizer
from pyrnnfast.reference import optim as rules


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012), as torch.optim.RMSprop.

    module: whose parameters are updated. lr: learning rate, default 1e-2. alpha: decay of the mean square, in
    [0, 1), default 0.99. eps: added to the root, default 1e-8. weight_decay: L2 penalty, default 0.
    momentum: default 0, none. centered: divide by the standard deviation (Graves 2013), default False.
    Raises TypeError or ValueError for an option of the wrong type or out of its range.

        g += weight_decay p;  v = alpha v + (1 - alpha) g^2;  v' = v, or centered
        m += (1 - alpha) (g - m), v' = v - m^2
        u = g / (sqrt(v') + eps);  b = momentum b + u, p -= lr b with momentum;  p -= lr u without
    """

    def __init__(
        self,
        module: Module,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
        }
        buffers = {"square_avg": 0.0}
        if centered:
            buffers["grad_avg"] = 0.0
        if momentum:
            buffers["momentum_buffer"] = 0.0
        super().__init__(module, options, buffers)

    def _update(self, parameter: Array, gradient: Array, buffers: dict[str, Array]) -> None:
        o = self._options
        rules.rmsprop(
            parameter,
            gradient,
            buffers["square_avg"],
            buffers.get("grad_avg"),
            buffers.get("momentum_buffer"),
            o["lr"],
            o["alpha"],
            o["eps"],
            o["weight_decay"],
            o["momentum"],
        )


class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011), as torch.optim.Adagrad.

    module: whose parameters are updated. lr: learning rate, default 1e-2. lr_decay: default 0. weight_decay:
    L2 penalty, default 0. initial_accumulator_value: what the sum of squares starts from, default 0. eps:
    added to the root, default 1e-10.
    Raises TypeError or ValueError for an option of the wrong type or out of its range.

        g += weight_decay p;  a += g^2;  p -= lr / (1 + (step - 1) lr_decay) g / (sqrt(a) + eps)
    """

    def __init__(
        self,
        module: Module,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        options = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
        }
        super().__init__(module, options, {"sum": initial_accumulator_value})

    def _update(self, parameter: Array, gradient: Array, buffers: dict[str, Array]) -> None:
        o = self._options
        lr = o["lr"] / (1 + (self._steps - 1) * o["lr_decay"])
        rules.adagrad(parameter, gradient, buffers["sum"], lr, o["eps"], o["weight_decay"])


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), as torch.optim.Adam.

    module: whose parameters are updated. lr: learning rate, default 1e-3. betas: decay of the mean and of the
    mean square, each in [0, 1), default (0.9, 0.999). eps: added to the root, default 1e-8. weight_decay: L2
    penalty, default 0.
    Raises TypeError or ValueError for an option of the wrong type or out of its range.

        g += weight_decay p;  m += (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g^2
        p -= lr (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)
    """

    _decoupled = False

    def __init__(
        self,
        module: Module,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if not isinstance(betas, (tuple, list)):
            raise TypeError(f"betas must be a pair of numbers, got {type(betas).__name__}")
        if len(betas) != 2:
            raise ValueError(f"betas must be a pair of numbers, got {len(betas)} of them")
        options = {"lr": lr, "beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": weight_decay}
        super().__init__(module, options, {"exp_avg": 0.0, "exp_avg_sq": 0.0})

    def _update(self, parameter: Array, gradient: Array, buffers: dict[str, Array]) -> None:
        o = self._options
        _backend.current().adam(
            parameter,
            gradient,
            buffers["exp_avg"],
            buffers["exp_avg_sq"],
            o["lr"],
            o["beta1"],
            o["beta2"],
            o["eps"],
            o["weight_decay"],
            self._decoupled,
            self._steps,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as torch.optim.AdamW.

    Arguments and errors as Adam's; weight_decay shrinks the parameters themselves, default 1e-2.

        p *= 1 - lr weight_decay;  then Adam without weight decay
    """

    _decoupled = True

    def __init__(
        self,
        module: Module,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(module, lr, betas, eps, weight_decay)
