"""`JordanRNN`: the output goes back, not the hidden units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyrnnfast import validation
from pyrnnfast._types import ActivationLike, DTypeLike, Seed
from pyrnnfast.layers.recurrent import RecurrentLayer
from pyrnnfast.layers.stack import DEFAULT_DTYPE
from pyrnnfast.layers.training import Training

if TYPE_CHECKING:
    from typing_extensions import Unpack


class JordanRNN(RecurrentLayer):
    """Jordan's network: h = f(W x + b + U o'), o = g(V h + c), o' the output before (Jordan 1986).

    The outputs o are y, and the state, O numbers a direction. Parameters, for layer 0: weight_ih_l0 (W)
    [H, C], weight_oh_l0 (U) [H, O], bias_ih_l0 (b) [H], bias_ho_l0 (c) [O], weight_ho_l0 (V) [O, H]; all
    begin uniform on -1/sqrt(H)..1/sqrt(H). A layer above the first reads D * O inputs.

    input_size, hidden_size, output_size: C, H, O. activations: two, f and g; by default "tanh" and the
    identity, ("affine", 1, 0). clip: the sums before f and g are held to -clip..clip. Other arguments, the
    call, backward and stream: as `RNN`'s, with O where it has H: recurrent_dropout and zoneout act on o, and
    grad_norms are of dL/do.
    Raises TypeError and ValueError for arguments of a wrong type or range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike = DEFAULT_DTYPE,
        rng: Seed = None,
        clip: float | None = None,
        activations: Sequence[ActivationLike] | None = None,
        merge: str = "concat",
        **training: Unpack[Training],
    ) -> None:
        super().__init__(
            "jordan",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype,
            rng,
            "uniform",
            {
                "clip": clip,
                "activations": activations,
                "proj_size": validation.integer("output_size", output_size, 1),
                "merge": merge,
            },
            training,
        )

    def _named(self, weight: str) -> str:
        return {"weight_hh": "weight_oh", "bias_hh": "bias_ho", "weight_hr": "weight_ho"}.get(weight, weight)

    def extra_repr(self) -> str:
        """The arguments that are not the defaults."""
        sizes, size = f"{self.input_size}, {self.hidden_size}", self.output_size
        return super().extra_repr().replace(f", proj_size={size}", "").replace(sizes, f"{sizes}, {size}", 1)
