"""`OneGateGRU`: the GRU with one gate and no reset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyrnnfast._types import ActivationLike, DTypeLike, Seed
from pyrnnfast.layers.recurrent import RecurrentLayer
from pyrnnfast.layers.stack import DEFAULT_DTYPE
from pyrnnfast.layers.training import Training

if TYPE_CHECKING:
    from typing_extensions import Unpack


class OneGateGRU(RecurrentLayer):
    """The GRU as lectures introduce it, with one gate and no reset: h = g n + (1 - g) h'.

    g = sigmoid(W_ig x + b_ig + W_hg h' + b_hg), n = tanh(W_in x + b_in + W_hn h' + b_hn); the order is g n,
    so that weight_ih_l0 is [2 * H, C]. It takes two thirds of a `GRU`'s products. activations: two, of the
    gate g and of the candidate n. Other arguments as `RNN`'s; calls, states and streams as those of `GRU`.
    Raises as `RNN`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike = DEFAULT_DTYPE,
        rng: Seed = None,
        recurrent_init: str = "uniform",
        clip: float | None = None,
        activations: Sequence[ActivationLike] | None = None,
        **training: Unpack[Training],
    ) -> None:
        super().__init__(
            "one_gate_gru",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype,
            rng,
            recurrent_init,
            {"clip": clip, "activations": activations},
            training,
        )
