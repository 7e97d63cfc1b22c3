"""Cases of recurrent stacks that hypothesis draws."""

from __future__ import annotations

from conftest import AWKWARD
from hypothesis import strategies as st
from numeric import Case, make

SIZES = st.sampled_from(AWKWARD)
DROPOUTS = st.sampled_from([0.0, 0.3, 1.0])


@st.composite
def cases(draw: st.DrawFn, cell: str, *, peers: bool = False) -> Case:
    """Any shape of the awkward sizes, any options; small enough to be fast.

    peers: only what PyTorch has too: no dropout of ours, no empty batch, step or row.
    """
    least = 1 if peers else 0
    steps = draw(st.integers(least, 7))
    rows = draw(SIZES if peers else st.one_of(st.just(0), SIZES))
    layers = draw(st.integers(1, 3))
    lengths = st.lists(st.integers(least, steps), min_size=rows, max_size=rows).map(tuple)
    return make(
        cell,
        steps,
        rows,
        draw(SIZES),
        draw(SIZES),
        layers=layers,
        bidirectional=draw(st.booleans()),
        bias=draw(st.booleans()),
        with_state=draw(st.booleans()),
        lengths=draw(st.none() | lengths),
        dropout=0.0 if peers or layers == 1 else draw(DROPOUTS),
        seed=draw(st.integers(0, 2**64 - 1)),
    )
