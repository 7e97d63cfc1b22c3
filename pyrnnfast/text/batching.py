"""Batches of token ids: contiguous windows of one stream, and padded batches of sequences of near lengths."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from pyrnnfast._types import ArrayLike, Integers
from pyrnnfast.text import _loops
from pyrnnfast.text._checks import as_bool, as_count, as_ids


class Window(NamedTuple):
    """`inputs` and `targets`, int64 [T, N]: the target of a position is the next token of the stream."""

    inputs: Integers
    targets: Integers


class RaggedBatch(NamedTuple):
    """`tokens` [T, N], padded past `lengths` [N]; column n is sequence number `indices[n]` [N]; all int64."""

    tokens: Integers
    lengths: Integers
    indices: Integers


class ContiguousWindows:
    """The windows of one stream for truncated backpropagation through time (Williams and Peng 1990).

    The stream is laid out as N rows of R = (M - 1) // N positions; row n holds the positions from n * R on,
    and a window holds T positions of each row. Row n of window k + 1 goes on where row n of window k stopped,
    so a state can be carried over. At most N - 1 tokens at the very end are not used.

    It is a sequence of `Window`: `windows[k]` is window k, `len(windows)` their number, and iterating gives
    them in order; `windows.iterate(start=k)` resumes at window k.

    Args:
        tokens: [M] ids, any integer type (a memory-mapped uint16 file too); kept by reference.
        rows: N >= 1.
        steps: T >= 1.
        keep_last: whether the last window is kept when it is shorter than T.

    Raises:
        TypeError, ValueError: a wrong argument, or a stream too short for one window: M < N + 1, and without
            keep_last M < N * T + 1.
    """

    def __init__(self, tokens: ArrayLike, rows: int, steps: int, *, keep_last: bool = True) -> None:
        ids = as_ids("tokens", tokens)
        self._rows = as_count("rows", rows, 1)
        self._steps = as_count("steps", steps, 1)
        keep_last = as_bool("keep_last", keep_last)
        needed = self._rows * (1 if keep_last else self._steps) + 1
        if ids.size < needed:
            what = f"{self._rows} rows" if keep_last else f"{self._rows} rows of {self._steps} steps"
            raise ValueError(f"tokens: expected at least {needed} for {what}, got {ids.size}")
        length = (ids.size - 1) // self._rows
        self._row_length = length if keep_last else length - length % self._steps
        used = self._rows * length
        self._inputs = ids[:used].reshape(self._rows, length).T
        self._targets = ids[1 : used + 1].reshape(self._rows, length).T

    @property
    def rows(self) -> int:
        """N."""
        return self._rows

    @property
    def steps(self) -> int:
        """T of every window, except a shorter last one."""
        return self._steps

    @property
    def row_length(self) -> int:
        """The number of positions of a row over all windows; times `rows`, the number of predictions."""
        return self._row_length

    def __len__(self) -> int:
        return -(-self._row_length // self._steps)

    def __getitem__(self, index: int) -> Window:
        """Window number `index` (a negative one counts from the end); IndexError when there is none."""
        start = range(len(self))[operator.index(index)] * self._steps
        stop = min(start + self._steps, self._row_length)
        inputs, targets = (
            np.ascontiguousarray(part[start:stop], dtype=np.int64) for part in (self._inputs, self._targets)
        )
        return Window(inputs, targets)

    def __iter__(self) -> Iterator[Window]:
        return self.iterate()

    def iterate(self, start: int = 0) -> Iterator[Window]:
        """Yield the windows in order from number `start`, 0..len (len yields none)."""
        start = as_count("start", start, 0)
        if start > len(self):
            raise ValueError(f"start: expected 0..{len(self)}, got {start}")
        return map(self.__getitem__, range(start, len(self)))


class Ragged:
    """Sequences of any lengths, kept one after the other.

    sequences: [len] ids each, any integer types and lengths, 0 included; copied.
    Raises TypeError and ValueError for a wrong argument, and when there are no sequences.
    """

    def __init__(self, sequences: Iterable[ArrayLike]) -> None:
        if isinstance(sequences, (str, bytes)) or not isinstance(sequences, Iterable):
            raise TypeError(f"sequences: expected an iterable of id arrays, got {type(sequences).__name__}")
        parts = [as_ids(f"sequences[{i}]", ids).astype(np.int64) for i, ids in enumerate(sequences)]
        if not parts:
            raise ValueError("sequences: expected at least one, got none")
        self.lengths = np.array([part.size for part in parts], np.int64)
        self._starts = np.cumsum(self.lengths) - self.lengths
        self._tokens = np.concatenate(parts)

    def padded(self, indices: Integers, pad: int) -> Integers:
        """Return the sequences of these numbers as columns, [longest of them, N], `pad` past their ends."""
        lengths = self.lengths[indices]
        tokens = np.empty((int(lengths.max()), indices.size), np.int64)
        _loops.fill_padded(self._tokens, self._starts[indices], lengths, pad, tokens)
        return tokens


class BucketedBatches:
    """Padded batches of sequences of near lengths, each sequence once an epoch.

    Sequences are ordered by length, longest first (equal ones at random), and cut into buckets of
    `bucket_batches` batches. Each bucket is shuffled and cut into batches, and the batches are shuffled. So
    little is padded, while the companions of a sequence and the order of lengths change with every epoch.

    Args:
        sequences: [len] ids each, any integer types and lengths, 0 included; copied.
        max_rows: the largest N of a batch.
        max_tokens: the largest T * N of a batch, padding included. At least one of the two bounds is needed.
        bucket_batches: batches in a bucket, >= 1: more mix more, and pad more.
        pad_id: what stands past the end of a sequence.

    Raises:
        TypeError, ValueError: a wrong argument, no sequences, no bound, a sequence longer than max_tokens.
    """

    def __init__(
        self,
        sequences: Iterable[ArrayLike],
        *,
        max_rows: int | None = None,
        max_tokens: int | None = None,
        bucket_batches: int = 16,
        pad_id: int = 0,
    ) -> None:
        if max_rows is None and max_tokens is None:
            raise ValueError("max_rows, max_tokens: expected at least one of them, got neither")
        self._max_rows = None if max_rows is None else as_count("max_rows", max_rows, 1)
        self._max_tokens = None if max_tokens is None else as_count("max_tokens", max_tokens, 1)
        self._bucket_batches = as_count("bucket_batches", bucket_batches, 1)
        self._pad_id = as_count("pad_id", pad_id, 0)
        self._sequences = Ragged(sequences)
        self._lengths = self._sequences.lengths
        longest = int(self._lengths.argmax())
        if self._max_tokens is not None and self._lengths[longest] > self._max_tokens:
            raise ValueError(
                f"sequences[{longest}]: expected at most max_tokens={self._max_tokens} ids, "
                f"got {self._lengths[longest]}"
            )
        self._batches = len(self._plan(None))

    def __len__(self) -> int:
        """The number of batches of an epoch, the same for every order."""
        return self._batches

    def epoch(self, rng: np.random.Generator | int | None = None) -> Iterator[RaggedBatch]:
        """Yield every sequence once, in padded batches.

        Args:
            rng: a Generator, or a seed in 0..2**64 - 1 for one: the same seed gives the same batches. The
                whole order is drawn when this is called. None shuffles nothing: longest first, equal lengths
                in the order given.

        Raises:
            TypeError, ValueError: rng is none of these.
        """
        if rng is not None and not isinstance(rng, np.random.Generator):
            rng = np.random.default_rng(as_count("rng", rng, 0, 2**64 - 1))
        return map(self._pad, self._plan(rng))

    def _plan(self, rng: np.random.Generator | None) -> list[Integers]:
        """The indices of the sequences of each batch."""
        order = np.arange(self._lengths.size) if rng is None else rng.permutation(self._lengths.size)
        order = order[np.argsort(-self._lengths[order], kind="stable")]
        batches: list[Integers] = []
        start = 0
        while start < order.size:
            rows = self._rows_of(int(self._lengths[order[start]]))
            bucket = order[start : start + rows * self._bucket_batches]
            start += bucket.size
            if rng is not None:
                rng.shuffle(bucket)
            batches += [bucket[first : first + rows] for first in range(0, bucket.size, rows)]
        return batches if rng is None else [batches[i] for i in rng.permutation(len(batches))]

    def _rows_of(self, longest: int) -> int:
        """The rows of a batch that holds no sequence longer than `longest`; longest batches come first."""
        bounds = []
        if self._max_rows is not None:
            bounds.append(self._max_rows)
        if self._max_tokens is not None:
            bounds.append(self._max_tokens // max(longest, 1))
        return min(bounds)

    def _pad(self, indices: Integers) -> RaggedBatch:
        tokens = self._sequences.padded(indices, self._pad_id)
        return RaggedBatch(tokens, self._lengths[indices], indices.astype(np.int64))
