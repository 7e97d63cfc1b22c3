"""How the next token is drawn, and the loop that draws a whole sequence: called after validation.

V classes, N rows. From the logits of a row, in float64, in this order:

1. z = logits; z[banned] = -inf. NaN or +inf anywhere is an error, and so is a z without any number.
2. w = exp((z - max z) / temperature). Temperature 0: w is 1 at the largest z (of equals the
   lowest id), else 0.
3. Top-k: all but the k largest z lose their w; of equals the lower ids are kept.
4. Top-p (Holtzman et al. 2020): in the order of falling z (of equals the lower id first) the shortest run
   whose sum of w, added one after the other, is at least p times that of all; the rest lose their w.
5. u in [0, 1); the drawn token is the first, in the order of ids, where the running sum of w exceeds u times
   the whole sum (the last one with w > 0, should rounding leave none).
6. While the drawn token is `redraw`, step 5 is done again with the next attempt's u; from attempt 64 on with
   w[redraw] = 0, which is the same distribution. When no other token has w > 0, the one with the largest z
   besides `redraw` is taken (`redraw` itself only where no other is allowed).

u = ((a >> 5) * 2**26 + (b >> 6)) / 2**53, a and b being words 0 and 1 of Philox4x32-10 with the key `seed`
and the counter (step, row, attempt, 2 << 16). So what a row draws depends on its number, not on its batch.
"""

from __future__ import annotations

import numpy as np

from pyrnnfast._types import Array, Integers
from pyrnnfast.reference.philox import philox
from pyrnnfast.reference.recurrent import Pack, forward

PURPOSE_SAMPLING = 2
ATTEMPTS = 64


def uniform(step: int, row: int, attempt: int, seed: int) -> float:
    """Return the u of one draw."""
    a, b, _, _ = (int(word) for word in philox((step, row, attempt, PURPOSE_SAMPLING << 16), seed))
    return ((a >> 5) * 2.0**26 + (b >> 6)) / 2.0**53


def scores(logits: Array, banned: Array) -> Array:
    """Do step 1 for one row [V]; `banned` is 1 where a token must not be drawn."""
    z = logits.astype(np.float64)
    if np.isnan(z).any() or (z == np.inf).any():
        raise ValueError(f"logits must be finite or -inf, got {'nan' if np.isnan(z).any() else 'inf'}")
    z[banned != 0] = -np.inf
    if z.size == 0 or z.max() == -np.inf:
        raise ValueError("logits must leave a token that may be drawn, got -inf for all of them")
    return z


def weigh(z: Array, temperature: float, top_k: int, top_p: float) -> Array:
    """Do steps 2 to 4 for one row [V]: return w, which sums to anything."""
    if temperature == 0:
        greedy: Array = np.zeros_like(z)
        greedy[z.argmax()] = 1
        return greedy
    with np.errstate(over="ignore"):
        w: Array = np.exp((z - z.max()) / temperature)
    order = np.argsort(-z, kind="stable")
    if 0 < top_k < z.size:
        w[order[top_k:]] = 0
    if top_p < 1:
        mass = np.cumsum(w[order])
        w[order[np.searchsorted(mass, top_p * mass[-1]) + 1 :]] = 0
    return w


def invert(w: Array, u: float) -> int:
    """Do step 5 for one row [V]."""
    mass = np.cumsum(w)
    token = int(np.searchsorted(mass, u * mass[-1], side="right"))
    return token if token < w.size else int(np.flatnonzero(w)[-1])


def draw(z: Array, w: Array, redraw: int, step: int, row: int, seed: int) -> int:
    """Do steps 5 and 6 for one row [V]."""
    if redraw >= 0 and w[redraw] > 0:
        others = w.copy()
        others[redraw] = 0
        if not others.any():
            rest = z.copy()
            rest[redraw] = -np.inf
            return int(rest.argmax()) if rest.max() > -np.inf else redraw
        for attempt in range(ATTEMPTS):
            token = invert(w, uniform(step, row, attempt, seed))
            if token != redraw:
                return token
        return invert(others, uniform(step, row, ATTEMPTS, seed))
    return invert(w, uniform(step, row, 0, seed))


def generate(
    pack: Pack,
    embedding: Array,
    decoder_weight: Array,
    decoder_bias: Array | None,
    h0: Array,
    c0: Array | None,
    first: Integers,
    length: int,
    temperature: float,
    top_k: int,
    top_p: float,
    stop: int,
    banned: Array,
    redraw: int,
    seed: int,
    num_threads: int,
) -> tuple[Integers, Integers, Array, Array | None]:
    """Draw N sequences of at most `length` tokens; each token drawn is the next step's input.

    embedding [V, E]; decoder_weight [V, D * H]; decoder_bias [V]; h0 and c0 [L * D, N, H]; first [N], the
    input of step 0. temperature: 0 is greedy. top_k: 0 is off. top_p: 1 is off. stop: a row that draws it is
    finished; -1 for none. banned: uint8 [V], 1 for what is never drawn. redraw: a token that is drawn again;
    -1 for none. seed: 0 to 2**64 - 1.
    Returns (tokens [N, length], lengths [N], hT, cT). A finished row's tokens are `stop` from where it was
    drawn on, and its length counts those before it. hT and cT are the states that gave each row's last draw:
    the last token drawn is not in them, and a finished row's state stands still.
    Raises ValueError when the logits of a row that is not finished are NaN or +inf.
    """
    rows = first.size
    tokens = np.full((rows, length), stop, np.int64)
    lengths = np.full(rows, length, np.int64)
    active = np.ones(rows, np.int64)
    fed, h, c = first.copy(), h0, c0
    for step in range(length):
        y, h, c, _ = forward(pack, embedding[fed][None], h, c, active, 0.0, 0, False, num_threads)
        with np.errstate(all="ignore"):
            logits = y[0] @ decoder_weight.T
            if decoder_bias is not None:
                logits += decoder_bias
        for row in np.flatnonzero(active):
            z = scores(logits[row], banned)
            token = draw(z, weigh(z, temperature, top_k, top_p), redraw, step, int(row), seed)
            tokens[row, step] = fed[row] = token
            if token == stop:
                active[row], lengths[row] = 0, step
        if not active.any():
            break
    return tokens, lengths, h, c
