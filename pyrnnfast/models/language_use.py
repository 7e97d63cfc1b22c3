"""What a trained language model is for: measuring how well it predicts a text, and drawing texts."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pyrnnfast import sampling
from pyrnnfast._types import Array, Integers, State
from pyrnnfast.losses import softmax_cross_entropy
from pyrnnfast.sampling import SamplingOptions
from pyrnnfast.text import ContiguousWindows

if TYPE_CHECKING:
    from pyrnnfast.models.language_model import LanguageModel

TOKENS_PER_CALL = 2048
LOGITS_PER_CALL = 2**23
TOKENS_PER_ROW = 1024
"""The least for which a stream is cut into rows, where that is only done for speed."""


@dataclass(frozen=True)
class Evaluation:
    """How well a model predicts a text."""

    loss: float
    """Nats per token, the unknown ones included: they are predicted as `<UNK>`."""
    perplexity: float
    """exp(loss)."""
    bits_per_character: float
    """The whole loss in bits over the number of characters of the text."""
    tokens: int
    """The number of predictions."""
    unknown_tokens: int
    """Tokens of the text that the vocabulary does not have."""
    tokens_per_second: float
    """The speed of the evaluation."""


def evaluate(model: LanguageModel, text: str) -> Evaluation:
    """Do `LanguageModel.evaluate`."""
    ids = model.vocabulary.encode(text, bos=True)
    if ids.size < 2:
        raise ValueError("text must have at least one token, got none")
    before = time.perf_counter()
    loss = mean_loss(model, ids)
    assert loss is not None
    if not math.isfinite(loss):
        raise ValueError(f"the loss on this text is {loss}: the model is damaged, or its training diverged")
    seconds = max(time.perf_counter() - before, 1e-9)
    tokens = ids.size - 1
    return Evaluation(
        loss=loss,
        perplexity=math.exp(loss) if loss < 700 else math.inf,
        bits_per_character=loss * tokens / len(text) / math.log(2),
        tokens=tokens,
        unknown_tokens=_count_unknown(model, ids),
        tokens_per_second=tokens / seconds,
    )


def mean_loss(
    model: LanguageModel, ids: Integers, rows: int = 1, stopped: Callable[[], bool] = lambda: False
) -> float | None:
    """Return the mean loss over a stream of ids in nats per token.

    ids: [M], M > rows. rows: into how many rows the stream is cut, each read from a state of zeros: 1 is
    exact, more are faster. stopped: once it returns true, the result is None.
    """
    total, count = 0.0, 0
    with model.evaluating():
        for logits, targets in _predictions(model, ids, rows):
            if stopped():
                return None
            loss, _ = softmax_cross_entropy(logits, targets)
            total += loss * targets.size
            count += targets.size
    return total / count


def surprisal(model: LanguageModel, text: str) -> Array:
    """Do `LanguageModel.surprisal`."""
    ids = model.vocabulary.encode(text, bos=True)
    if ids.size < 2:
        raise ValueError("text must have at least one token, got none")
    each: list[Array] = []
    with model.evaluating():
        for logits, targets in _predictions(model, ids, 1):
            logits -= logits.max(axis=-1, keepdims=True)
            chosen = np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
            each.append((np.log(np.exp(logits).sum(axis=-1)) - chosen)[:, 0])
    return np.concatenate(each)


def _predictions(model: LanguageModel, ids: Integers, rows: int) -> Iterator[tuple[Array, Integers]]:
    """Yield logits [T, N, V] and targets [T, N] of a stream of ids, window by window."""
    state: State | None = None
    steps = max(1, min(TOKENS_PER_CALL, LOGITS_PER_CALL // len(model.vocabulary)) // rows)
    for inputs, targets in ContiguousWindows(ids, rows, steps):
        logits, state = model(inputs, state)
        yield logits, targets


def sample(
    model: LanguageModel,
    prompts: Sequence[str],
    length: int,
    options: SamplingOptions,
    allow_unknown: bool,
    seed: int,
) -> list[str]:
    """Do `LanguageModel.sample`: one text for each prompt."""
    words = model.vocabulary
    # A text of characters has no <EOS>, so none was ever learnt; in one of words each line ends in it.
    ends = words.unit == "word"
    banned = (words.pad_id, words.bos_id, None if ends else words.eos_id)
    options = replace(
        options,
        banned=tuple(id for id in banned if id is not None),
        redraw=None if allow_unknown else words.unk_id,
        stop=words.eos_id if ends else None,
    )
    first, state = _prime(model, prompts)
    parameters = model.named_parameters()
    tokens, lengths, _ = sampling.generate(
        model.recurrent.pack(),
        parameters["embedding.weight"],
        parameters["decoder.weight"],
        parameters["decoder.bias"],
        first=first,
        length=length,
        state=state,
        options=options,
        seed=seed,
    )
    return [words.decode(row[:end]) for row, end in zip(tokens, lengths, strict=True)]


def _prime(model: LanguageModel, prompts: Sequence[str]) -> tuple[Integers, State]:
    """Read `<BOS>` and each prompt but for its last token; return those last tokens and the states."""
    encoded = [model.vocabulary.encode(prompt, bos=True) for prompt in prompts]
    unknown = sum(_count_unknown(model, ids) for ids in encoded)
    if unknown:
        warnings.warn(
            f"the model does not know {unknown} of the prompt's tokens: they are read as <UNK>", stacklevel=4
        )
    lengths = np.array([ids.size - 1 for ids in encoded], np.int64)
    padded = np.zeros((int(lengths.max(initial=0)), len(encoded)), np.int64)
    for row, ids in enumerate(encoded):
        padded[: ids.size - 1, row] = ids[:-1]
    with model.evaluating():
        state = model.recurrent(padded, None, lengths, embedding=model.embedding)[1]
    return np.array([ids[-1] for ids in encoded], np.int64), state


def _count_unknown(model: LanguageModel, ids: Integers) -> int:
    unknown = model.vocabulary.unk_id
    return 0 if unknown is None else int(np.count_nonzero(ids == unknown))
