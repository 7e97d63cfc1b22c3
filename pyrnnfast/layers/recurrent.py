"""`RNN`, `LSTM` and `GRU`: whole sequences, with the arguments, names and shapes of the torch.nn modules."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyrnnfast import _backend, cell_options, validation
from pyrnnfast._types import ActivationLike, AnyIntegers, Array, ArrayLike, DTypeLike, Seed, State
from pyrnnfast.layers.embedding import Embedding
from pyrnnfast.layers.layout import SequenceStack
from pyrnnfast.layers.stack import DEFAULT_DTYPE
from pyrnnfast.layers.stream import Stream
from pyrnnfast.layers.training import Training, check, describe

if TYPE_CHECKING:
    from typing_extensions import Unpack


class RecurrentLayer(SequenceStack):
    """A stack called on sequences: dropout between the layers, one tape per Python thread."""

    return_cells = False  # the LSTM may

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        dtype: DTypeLike,
        rng: Seed,
        recurrent_init: str,
        options: Mapping[str, Any],
        training: Training,
        forget_bias: float | None = None,
    ) -> None:
        drops, more = check(type(self).__name__, training)
        super().__init__(
            cell,
            input_size,
            hidden_size,
            num_layers,
            bias,
            bidirectional,
            dtype,
            rng,
            recurrent_init,
            forget_bias,
            "_l{layer}{reverse}",
            {**options, **more},
            **drops,
        )
        self.batch_first = validation.flag("batch_first", batch_first)
        self.dropout = validation.probability("dropout", dropout)
        if self.dropout > 0 and self.num_layers == 1:
            warnings.warn(
                f"dropout acts between layers: dropout={self.dropout:g} does nothing with num_layers=1",
                stacklevel=3,
            )

    def __call__(
        self,
        x: Array | AnyIntegers,
        state: State | None = None,
        lengths: ArrayLike | None = None,
        *,
        embedding: Embedding | None = None,
    ) -> Any:
        """Run over sequences.

        x: [T, N, C], with batch_first [N, T, C], or one sequence [T, C]; of the layer's dtype. In training
        the tape refers to it: do not change it before `backward`.
        state: the initial h [L * D, N, H] ([L * D, H] for one sequence), for the LSTM a tuple (h, c); zeros
        by default. With proj_size h has P numbers for H, and the GRU has a pair too, as `outputs` says.
        lengths: [N] integers from 0 to T in any order; y past a row's length is zero, the final state is that
        of its last step, and the reverse direction starts there.
        embedding: an Embedding of C numbers each; x are then its ids, integers [T, N], with batch_first
        [N, T], or [T]. The result is that of `layer(embedding(x))`, bit for bit, sooner: W_ih meets each row
        of a small embedding once, not once for each id. `backward` adds to the embedding's gradient too.
        Returns (y, state): y [T, N, D * H] in x's layout (with proj_size P for H, with merge no D), and the
        final state, shaped as the initial one; with return_cells (y, state, cells), cells [T, N, D * H].
        Raises TypeError for a wrong type or dtype, ValueError for a wrong shape or range.
        """
        plain = embedding is None and lengths is None and not self.batch_first
        if plain and not self.training and not self.return_cells:
            quick = _backend.current().infer(self.pack(), x, state)
            if quick is not None:
                self._tapes.drop()
                return quick
        rows, batched = self._input(x, embedding)
        state = self._state_in("state", state, batched)
        result = self._run(rows, state, lengths, self.dropout, batched, embedding, self.return_cells)
        out = self._user_layout(result.y, batched), self._state_out(result.state, batched)
        return out if result.cells is None else (*out, self._user_layout(result.cells, batched))

    def backward(
        self, dy: Array | None, dstate: Any = None, dcells: Array | None = None
    ) -> tuple[Array | None, State]:
        """Backpropagate through this thread's last call, which must have been in training mode.

        dy: the gradient of y, of y's shape; None for zeros.
        dstate: the gradient of the final state, of its structure (either of the LSTM's two may be None);
        zeros by default.
        dcells: the gradient of the cells that return_cells gave, of their shape; zeros by default.
        Returns (dx, dstate0), the gradients of x (None where x were ids) and of the initial state; those of
        the weights are added to `.grads`.
        Raises RuntimeError in eval mode, without a call before, a second time after one call, and when the
        call's embedding has changed since; TypeError and ValueError as the call does (the tape is kept then).
        """
        tape, batched, embedding, _ = self._kept()
        if dcells is not None:
            if not self.return_cells:
                raise ValueError("dcells must be None for a layer without return_cells, got an array")
            units = self.num_directions * self.hidden_size
            dcells = self._gradient_in("dcells", dcells, tape, batched, units)
        if dy is not None:
            dy = self._gradient_in("dy", dy, tape, batched, self._width())
        dstate = self._state_in("dstate", dstate, batched, parts_optional=True)
        dx, dstate0 = self._back(tape, dy, dstate, dcells)
        if embedding is None:
            return self._user_layout(dx, batched), self._state_out(dstate0, batched)
        embedding._take_gradient(dx)
        return None, self._state_out(dstate0, batched)

    def stream(self, N: int = 1) -> Stream:
        """Make a `Stream` of N rows, which takes one step a call and keeps the state; it starts from zero.

        Raises TypeError unless N is an integer, ValueError where it is below 1, for a bidirectional layer,
        which needs whole sequences, and in training mode where that draws masks.
        """
        return Stream(self, N)

    def extra_repr(self) -> str:
        """The arguments that are not the defaults."""
        text = f"{self.input_size}, {self.hidden_size}"
        text += f", num_layers={self.num_layers}" if self.num_layers != 1 else ""
        text += ", nonlinearity='relu'" if self.cell == "rnn_relu" else ""
        text += ", bias=False" if not self.bias else ""
        text += ", batch_first=True" if self.batch_first else ""
        text += f", dropout={self.dropout:g}" if self.dropout else ""
        text += ", bidirectional=True" if self.bidirectional else ""
        text += ", reset_after=False" if self.cell == "gru_reset_before" else ""
        text += cell_options.describe(self.options, self.cell) + describe(self)
        text += ", return_cells=True" if self.return_cells else ""
        return text + (f", dtype={self.dtype}" if self.dtype != DEFAULT_DTYPE else "")


class RNN(RecurrentLayer):
    """Elman's network: h = f(W_ih x + b_ih + W_hh h' + b_hh), f = tanh or relu (Elman 1990).

    input_size, hidden_size, num_layers: C, H, L. nonlinearity: "tanh" or "relu". bias: whether there are b_ih
    and b_hh. batch_first: x and y are [N, T, ...] (states never). dropout: the probability that an output of
    a layer is zeroed for the layer above, in training. bidirectional: a second direction runs from each row's
    end, and `merge` says how outputs are joined. dtype: float32 or float64. rng: a numpy.random.Generator or
    a seed, for the weights and the dropout; fresh by default. recurrent_init: "uniform" (PyTorch's, on
    -1/sqrt(H)..1/sqrt(H), as all other weights) or "orthogonal".
    clip: the sum before f is held to -clip..clip; None for no clip. activations: one that takes f's place, a
    name or (name, alpha, beta), for each direction or for both: see `pyrnnfast.cell_options`.
    proj_size: P, below H: h is projected to P numbers by weight_hr_l0, ... [P, H]; 0 for none: see
    `pyrnnfast.outputs`. merge: what becomes of two directions' outputs: "concat", "sum", "mean" or "mul".
    layer_norm: W_ih x and W_hh h' are each normalised over all G * H units and multiplied by gains,
    norm_ih_weight_l0 and norm_hh_weight_l0, ... [G * H], 1 at first; then the biases are added, 0 at first
    here (Ba, Kiros and Hinton 2016).
    training: input_dropout, recurrent_dropout, zoneout, grad_clip, record_grad_norms: see
    `pyrnnfast.layers.training.Training`.
    Raises TypeError and ValueError for arguments of a wrong type or range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike = DEFAULT_DTYPE,
        rng: Seed = None,
        recurrent_init: str = "uniform",
        proj_size: int = 0,
        clip: float | None = None,
        activations: Sequence[ActivationLike] | None = None,
        merge: str = "concat",
        layer_norm: bool = False,
        **training: Unpack[Training],
    ) -> None:
        self.nonlinearity = validation.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        if activations is not None and nonlinearity != "tanh":
            raise ValueError(f"nonlinearity must not be given beside activations, got {nonlinearity!r}")
        super().__init__(
            f"rnn_{nonlinearity}",
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
            {
                "clip": clip,
                "activations": activations,
                "proj_size": proj_size,
                "merge": merge,
                "layer_norm": layer_norm,
            },
            training,
        )


class LSTM(RecurrentLayer):
    """Long short-term memory: c = f c' + i g, h = o tanh(c), i, f, o = sigmoid(...), g = tanh(...).

    Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000; the gates' order is i f g o. The
    state is a tuple (h, c). Arguments as `RNN`'s; forget_bias sets what the forget gates' two biases sum to
    at first (1: Jozefowicz et al. 2015; None: uniform as the rest).
    peephole: i and f see c' too, and o sees c (Gers et al. 2002), each by one number a unit: the parameters
    weight_peephole_l0, ... [3 * H], order i f o. coupled: f = 1 - i, the rows of f in the weights unused.
    activations: three, of the gates i f o, of the candidate g, and of c before it is multiplied by o.
    layer_norm: as for `RNN`, and h = o tanh(LN(c)), with norm_c_weight_l0, norm_c_bias_l0, ... [H].
    cell_clip, proj_clip: c, and with proj_size h, are held to -clip..clip after the step; None for no clip.
    return_cells: a call returns (y, state, cells), with the top layer's c of every step.
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
        proj_size: int = 0,
        *,
        dtype: DTypeLike = DEFAULT_DTYPE,
        rng: Seed = None,
        recurrent_init: str = "uniform",
        forget_bias: float | None = None,
        peephole: bool = False,
        coupled: bool = False,
        cell_clip: float | None = None,
        proj_clip: float | None = None,
        return_cells: bool = False,
        clip: float | None = None,
        activations: Sequence[ActivationLike] | None = None,
        merge: str = "concat",
        layer_norm: bool = False,
        **training: Unpack[Training],
    ) -> None:
        super().__init__(
            "lstm",
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
            {
                "peephole": peephole,
                "coupled": coupled,
                "clip": clip,
                "activations": activations,
                "cell_clip": cell_clip,
                "proj_size": proj_size,
                "proj_clip": proj_clip,
                "merge": merge,
                "layer_norm": layer_norm,
            },
            training,
            forget_bias,
        )
        self.return_cells = validation.flag("return_cells", return_cells)


class GRU(RecurrentLayer):
    """Gated recurrent unit: h = (1 - z) n + z h', r, z = sigmoid(...); the gates' order is r z n.

    reset_after: True for n = tanh(W_in x + b_in + r (W_hn h' + b_hn)), as PyTorch and cuDNN compute it; False
    for n = tanh(W_in x + b_in + W_hn (r h') + b_hn), as Cho et al. 2014 print it. activations: two, of the
    gates r z and of the candidate n. layer_norm: as for `RNN`; W_hn (r h') is normalised by itself. Other
    arguments as `RNN`'s.
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
        reset_after: bool = True,
        dtype: DTypeLike = DEFAULT_DTYPE,
        rng: Seed = None,
        recurrent_init: str = "uniform",
        proj_size: int = 0,
        clip: float | None = None,
        activations: Sequence[ActivationLike] | None = None,
        merge: str = "concat",
        layer_norm: bool = False,
        **training: Unpack[Training],
    ) -> None:
        self.reset_after = validation.flag("reset_after", reset_after)
        super().__init__(
            "gru" if reset_after else "gru_reset_before",
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
            {
                "clip": clip,
                "activations": activations,
                "proj_size": proj_size,
                "merge": merge,
                "layer_norm": layer_norm,
            },
            training,
        )
