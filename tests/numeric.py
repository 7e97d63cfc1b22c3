"""Random cases of recurrent stacks, the oracle's answers, and tolerances from sizes and epsilon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from unittest import mock

import numpy as np

from pyrnnfast import _sizes, cell_options, functional, reference, validation
from pyrnnfast._types import Activation, Options
from pyrnnfast.reference import activations, cells, norm

Results = dict[str, np.ndarray]
CELLS = tuple(validation.GATES)
KINK = 16 * float(np.finfo(np.float32).eps)
"""Some typical rounding errors of a sum of size 1."""
STEP = float(np.finfo(np.float64).eps) ** (1 / 3)
"""h that balances the error of a central difference: h^2 of the third derivative, eps / h of rounding."""
SAFETY = 8
"""For what the derivation leaves out: the activations' few ULP, matrices that stretch a little."""


@dataclass(frozen=True, repr=False)
class Case:
    """One call forward and backward; every number is a float32, so that all dtypes see the same values."""

    cell: str
    steps: int
    rows: int
    inputs: int
    hidden: int
    layers: int = 1
    bidirectional: bool = False
    bias: bool = True
    with_state: bool = True
    lengths: tuple[int, ...] | None = None
    dropout: float = 0.0
    seed: int = 0
    general: dict[str, object] = field(default_factory=dict)
    drops: dict[str, float] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("cell", "arrays")}
        return f"Case({self.cell!r}, {', '.join(f'{name}={value}' for name, value in options.items())})"

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def outputs(self) -> int:
        """R: what a direction puts out."""
        return self.general.get("proj_size") or self.hidden

    @property
    def width(self) -> int:
        """The numbers of y at each step."""
        return self.outputs * (1 if self.general.get("merge", "concat") != "concat" else self.directions)

    @property
    def paired(self) -> bool:
        """Whether the state is (h, c)."""
        return self.cell == "lstm" or (self.cell == "gru" and self.outputs != self.hidden)

    @property
    def options(self) -> dict[str, object]:
        stack = {"num_layers": self.layers, "bidirectional": self.bidirectional, "bias": self.bias}
        return {**stack, **self.general}

    def pair(self, h: str, c: str, dtype: np.dtype) -> object:
        """The state under two names, as the cell wants it."""
        h, c = self.arrays[h].astype(dtype), self.arrays[c].astype(dtype)
        return (h, c) if self.paired else h

    def weights(self, dtype: np.dtype) -> list[np.ndarray]:
        return [value.astype(dtype) for name, value in self.arrays.items() if name.startswith("w")]


def make(
    cell: str, steps: int, rows: int, inputs: int, hidden: int, away: float = KINK, **options: object
) -> Case:
    """Fill a case: weights as PyTorch draws them, everything else from the standard normal distribution.

    A relu's gradient jumps at 0, where rounding decides: a draw that brings a sum within `away` of such a
    point of its activation, or of the clip, is not taken.
    """
    case = Case(cell, steps, rows, inputs, hidden, **options)
    for attempt in range(100):
        rng = np.random.default_rng([case.seed, attempt])
        case = replace(case, arrays=_draw(case, rng))
        if distance_to_kink(case) > away:
            return case
    raise AssertionError(f"no draw of {case} keeps away from the kink")


def _draw(case: Case, rng: np.random.Generator) -> Results:
    units, hidden, bound = validation.GATES[case.cell] * case.hidden, case.hidden, 1 / math.sqrt(case.hidden)
    runs, recurrent = case.layers * case.directions, case.outputs
    outputs = (case.steps, case.rows, case.width)
    shapes = {"x": (case.steps, case.rows, case.inputs), "dy": outputs}
    for name in ("h0", "c0", "dh", "dc"):
        shapes[name] = (runs, case.rows, hidden if "c" in name else recurrent)
    arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    for k in range(runs):
        below = case.inputs if k < case.directions else case.width
        biases = _sizes.biases(checked(case), case.cell, hidden, case.bias)
        sizes = [(units, below), (units, recurrent), *biases.values()]
        more = _sizes.extras(checked(case), case.cell, hidden, case.bias)
        names = [""] * len(sizes) + list(more)
        for i, (name, shape) in enumerate(zip(names, [*sizes, *more.values()], strict=True)):
            low = (0.5, 1.5) if name.startswith("norm") and name.endswith("weight") else (-bound, bound)
            arrays[f"w{k}.{i}"] = rng.uniform(*low, shape)
    return {name: value.astype(np.float32) for name, value in arrays.items()}


def checked(case: Case) -> Options | None:
    """The options of the case as the backends get them."""
    return cell_options.check(case.cell, case.directions, **case.general)


def run(
    case: Case,
    dtype: type,
    isa: str | None = None,
    num_threads: int | None = None,
    ids: np.ndarray | None = None,
    embedding: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Forward in training and backward through `functional`: every result by name.

    ids, embedding: to be read instead of x; dx is the embedding's gradient then.
    """
    packed = functional.pack(case.cell, case.weights(dtype), isa=isa, **case.options)
    y, state, tape = functional.forward(
        packed,
        case.arrays["x"].astype(dtype) if ids is None else ids,
        case.pair("h0", "c0", dtype) if case.with_state else None,
        case.lengths,
        embedding=None if embedding is None else embedding.astype(dtype),
        dropout=case.dropout,
        seed=case.seed,
        training=True,
        **case.drops,
        num_threads=num_threads,
    )
    dy, dstate = case.arrays["dy"].astype(dtype), case.pair("dh", "dc", dtype)
    dx, dstate, dweights = functional.backward(tape, dy, dstate, num_threads=num_threads)
    return _name(case, y, state, dx, dstate, dweights)


def oracle(case: Case) -> Results:
    """What `run` should give, by the reference in float64."""
    dtype = np.dtype(np.float64)
    get = {name: value.astype(dtype) for name, value in case.arrays.items()}
    h0, c0 = (get["h0"], get["c0"]) if case.with_state else (None, None)
    lengths = None if case.lengths is None else np.array(case.lengths, np.int64)
    options = checked(case)
    shape = (case.layers, case.bidirectional, case.bias)
    packed = reference.Pack(case.cell, case.weights(dtype), *shape, options=options)
    pair = case.paired
    y, h, c, tape = reference.forward(
        packed, get["x"], h0, c0 if pair else None, lengths, case.dropout, case.seed, True, 0, **case.drops
    )
    dc = get["dc"] if pair else None
    dx, dh0, dc0, dweights = reference.backward(tape, get["dy"], get["dh"], dc, True, 0)
    return _name(case, y, (h, c) if pair else h, dx, (dh0, dc0) if pair else dh0, dweights)


def _name(case: Case, y, state, dx, dstate, dweights) -> Results:
    (h, c), (dh0, dc0) = (state, dstate) if case.paired else ((state, None), (dstate, None))
    results = {"y": y, "h": h, "c": c, "dx": dx, "dh0": dh0, "dc0": dc0}
    names = [name for name in case.arrays if name.startswith("w")]
    results |= {"d" + name: value for name, value in zip(names, dweights, strict=True)}
    return {name: value for name, value in results.items() if value is not None}


def same_bits(got: Results, want: Results) -> None:
    """All that is wanted is there, to the bit."""
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def kinks(activation: Activation, clip: float) -> list[float]:
    """Where a gate or its slope jumps, as a function of the sum."""
    name, alpha, beta = activation
    points = {"relu": [0.0], "leaky_relu": [0.0], "elu": [0.0], "thresholded_relu": [alpha]}.get(name, [])
    points += [-beta / alpha, (1 - beta) / alpha] if name == "hard_sigmoid" else []
    return [*points, -clip, clip]


def distance_to_kink(case: Case) -> float:
    """How near to a kink of its activation any sum comes, and to its clip what is clipped."""
    options = checked(case)
    if options is None and case.cell != "rnn_relu":
        return math.inf
    nearest = [math.inf]

    class Watch(activations.Gate):
        def __call__(self, s):
            for kink in kinks(self.activation, self.clip):
                away = np.abs(s - kink)
                nearest.append(away[away != 0].min(initial=math.inf))  # a plain 0 is the same to everyone
            return super().__call__(s)

    def hold(value, clip):
        nearest.append(np.abs(np.abs(value) - clip).min(initial=math.inf))
        return np.clip(value, -clip, clip)

    with mock.patch.object(cells, "Gate", Watch), mock.patch.object(cells, "hold", hold):
        oracle(case)
    return float(min(nearest))


def stretch(case: Case) -> float:
    """By how much layer normalisation makes errors larger: the largest gain over a standard deviation."""
    factors = [1.0]
    unit = norm.Norm._unit

    def watch(self, x):
        result = unit(self, x)
        varied = result[1][np.abs(result[0]).max(axis=-1, keepdims=True, initial=0) > 0]  # else it is exact
        factors.append(float(varied.max(initial=0) * np.abs(self.gain).max()))
        return result

    with mock.patch.object(norm.Norm, "_unit", watch):
        oracle(case)
    return max(factors)


def forward_tolerance(case: Case, dtype: type, largest: float = 1.0) -> float:
    """How far y and the states may be from the exact ones.

    A pre-activation sums K products, whose sizes are about |row of weights| |source| / K and whose signs are
    random: the partial sum of k of them is about sqrt(k) of that. Each addition rounds it by at most u = eps
    / 2, and these errors are independent, so together they are about u |row| |source|. The gates' slopes are
    at most 1, so that each of T steps and L layers adds this once. Layer normalisation stretches it.
    """
    weights = [value for name, value in case.arrays.items() if name.startswith("w")]
    each = len(weights) // (case.layers * case.directions)
    row = max(
        math.sqrt(
            sum(float((np.reshape(w, (len(w), -1)) ** 2).sum(axis=1).max()) for w in weights[i : i + each])
        )
        for i in range(0, len(weights), each)
    )
    x = np.sqrt((case.arrays["x"] ** 2).sum(axis=-1)).max(initial=0)
    below = max(float(x), math.sqrt(case.directions * case.hidden) * largest if case.layers > 1 else 0)
    source = math.hypot(below, math.sqrt(case.hidden) * max(largest, 1), math.sqrt(2))
    depth = max(1, case.steps) * case.layers
    for p in (case.dropout, *case.drops.values()):
        source /= max(1 - p, 0.1)
    if case.general.get("layer_norm"):
        row *= stretch(case)
    return SAFETY * float(np.finfo(dtype).eps) / 2 * row * source * depth


def assert_close(case: Case, got: Results, expected: Results, dtype: type) -> float:
    """Hold results against the oracle's; returns the largest error as a part of its tolerance.

    A gradient passes the same chain backward, through slopes that the forward errors have moved: twice the
    forward tolerance, in units of the largest gradient that flows. A weight's gradient sums T * N such
    gradients, each times a source; their errors are independent, so they add up as sqrt(T * N).
    """
    assert got.keys() == expected.keys()
    largest = {name: float(np.abs(value).max(initial=0)) for name, value in expected.items()}
    states = max(largest[name] for name in ("y", "h", "c") if name in largest)
    forward = forward_tolerance(case, dtype, max(1.0, states))
    flowing = max(float(np.abs(case.arrays[name]).max(initial=0)) for name in ("dy", "dh", "dc"))
    flowing = max(1.0, flowing, *(largest[name] for name in ("dx", "dh0", "dc0") if name in largest))
    source = max(1.0, states, float(np.abs(case.arrays["x"]).max(initial=0)))
    worst = 0.0
    for name, want in expected.items():
        tolerance = forward * max(1.0, states)
        if name.startswith("d"):
            tolerance = 2 * forward * flowing
        if name.startswith("dw"):
            tolerance *= math.sqrt(max(1, case.steps * case.rows)) * source
        value = got[name]
        assert value.dtype == dtype, name
        assert value.shape == want.shape, name
        error = float(np.abs(value - want).max(initial=0))
        assert error <= tolerance, f"{name} of {case}: off by {error:.3g}, tolerance {tolerance:.3g}"
        worst = max(worst, error / tolerance)
    return worst


def same_for_any_threads(case: Case, isa: str, dtypes: Sequence[type] = (np.float32, np.float64)) -> None:
    """Each dtype agrees with the oracle, and two threads with one to the bit."""
    expected = oracle(case)
    for dtype in dtypes:
        one, two = (run(case, dtype, isa, num_threads=n) for n in (1, 2))
        assert_close(case, one, expected, dtype)
        same_bits(two, one)
