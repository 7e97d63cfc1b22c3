"""Time the training of a model against the same model in PyTorch, for the examples' option --compare.

A step is what training repeats: forward, loss, backward, the gradients clipped, Adam. `compare` takes two
functions, ours and PyTorch's, that make one step each and return its loss. `our_step` and `torch_step` make
such functions, `compare_language_model` does all of it for a `LanguageModel`. A model that has dropout is
compared as `without_dropout` makes it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pyrnnfast import GRU, LSTM, RNN, Embedding, Linear, Module, clip_grad_norm_, get_num_threads
from pyrnnfast.benchmark.timing import Pacing, alternate, timed
from pyrnnfast.models import LanguageModel
from pyrnnfast.models.model import Model
from pyrnnfast.optim import Adam

LR, CLIP = 1e-3, 1.0
CHECKED, TOLERANCE = 3, 1e-3
PACING = Pacing(blocks=7, block_seconds=0.5, warmup_seconds=0.3, pause_seconds=0.02, library_seconds=math.inf)


def compare(ours_step: Callable[[], float], torch_step: Callable[[], float]) -> float:
    """Return how many times as fast `ours_step` is: PyTorch's median time of a step divided by ours.

    Each makes one training step and returns its loss; both begin with the same weights and see the same
    data. They take turns in blocks of half a second, with as many threads.
    Raises ValueError when the losses of the first steps differ by more than 0.1%: then the models are not
    the same.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(get_num_threads())
    try:
        losses = [[step() for _ in range(CHECKED)] for step in (ours_step, torch_step)]
        if not np.allclose(*losses, rtol=TOLERANCE, atol=0):
            raise ValueError(f"both must be the same model, got the losses {losses[0]} and {losses[1]}")
        calls = {"ours": ours_step, "PyTorch": torch_step}
        timings = alternate(calls, PACING, {name: timed(call)[0] for name, call in calls.items()})
    finally:
        torch.set_num_threads(before)
    return timings["PyTorch"].median / timings["ours"].median


def our_step(model: Module, gradients: Callable[[Any], float], batches: Sequence[Any]) -> Callable[[], float]:
    """Return a function that makes the next step of a model.

    gradients: adds those of a batch to the model's, and returns the loss. batches: taken in turns.
    """
    optimizer, turns = Adam(model, LR), itertools.cycle(batches)

    def step() -> float:
        model.zero_grad()
        loss = gradients(next(turns))
        clip_grad_norm_(model, CLIP)
        optimizer.step()
        return loss

    return step


def torch_step(model: Any, loss: Callable[[Any], Any], batches: Sequence[Any]) -> Callable[[], float]:
    """Do the same for a torch.nn.Module, with PyTorch's fused Adam; loss: the tensor of a batch's loss."""
    import torch

    optimizer, turns = torch.optim.Adam(model.parameters(), LR, fused=True), itertools.cycle(batches)

    def step() -> float:
        optimizer.zero_grad()
        value = loss(next(turns))
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return value.item()

    return step


def torch_twin(model: Module) -> Any:
    """Make a torch.nn.ModuleDict of a model's embeddings, linear and recurrent layers, with their weights."""
    import torch
    from torch import nn

    from pyrnnfast.torch import to_torch

    twin = nn.ModuleDict()
    for name, layer in model.modules().items():
        if isinstance(layer, Embedding):
            twin[name] = nn.Embedding(layer.num_embeddings, layer.embedding_dim)
        elif isinstance(layer, Linear):
            twin[name] = nn.Linear(layer.in_features, layer.out_features)
        elif isinstance(layer, (RNN, LSTM, GRU)):
            twin[name] = to_torch(layer)
    twin.load_state_dict({name: torch.from_numpy(value) for name, value in model.state_dict().items()})
    return twin.train()


def without_dropout(model: Model) -> Any:
    """Return a new model of the same kind, vocabulary and sizes, with other weights and without dropout."""
    options = {
        name: 0.0 if name.endswith("dropout") else value for name, value in model.configuration.items()
    }
    return type(model)(**{name: getattr(model, name) for name in model.VOCABULARIES}, **options, rng=0)


def read_packed(layer: Any, x: Any, lengths: Any) -> Any:
    """Run a PyTorch layer over sequences [T, N, C] of different lengths; return y [T, N, D * H]."""
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    return pad_packed_sequence(layer(pack_padded_sequence(x, lengths, enforce_sorted=False))[0])[0]


def compare_language_model(model: LanguageModel, steps: int, rows: int) -> float:
    """Return `compare` for windows [T, N] of random tokens, T = steps, N = rows, each from a state of zeros.

    The model's dropout must be 0. Its weights are trained on: what it knew is lost.
    """
    import torch

    tokens = len(model.vocabulary)
    ids = np.random.default_rng(0).integers(tokens, size=(8, steps + 1, rows), dtype=np.int64)
    twin = torch_twin(model.train())

    def loss(ids: torch.Tensor) -> torch.Tensor:
        y, _ = twin["recurrent"](twin["embedding"](ids[:-1]))
        return torch.nn.functional.cross_entropy(twin["decoder"](y).flatten(0, 1), ids[1:].flatten())

    ours = our_step(model, lambda window: model.loss_and_grads(window[:-1], window[1:])[0], ids)
    return compare(ours, torch_step(twin, loss, torch.from_numpy(ids)))
