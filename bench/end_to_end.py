"""Tokens per second of whole language models, of characters and words, ours against the same in PyTorch.

    python bench/end_to_end.py --threads 2

A training step is embedding, recurrent layers, linear layer, softmax cross-entropy, all gradients, clipping
at a norm of 1 and Adam, the state carried from step to step. Sampling draws one text. Both models begin with
the same weights and must agree on the losses of their first steps before anything is timed; then they take
turns in blocks. PyTorch trains with its default Adam and with the fused one, and the better of the two is the
peer.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pyrnnfast import __version__, runtime
from pyrnnfast.benchmark.timing import Pacing, Timing, alternate, timed
from pyrnnfast.clipping import clip_grad_norm_
from pyrnnfast.models import LanguageModel
from pyrnnfast.optim import Adam
from pyrnnfast.text import Vocabulary

EMBEDDING, BATCHES, LR, TEMPERATURE = 64, 8, 2e-3, 0.8
CHECKED_STEPS, TOLERANCE = 5, 1e-4
OURS, PLAIN, FUSED = "pyrnnfast", "PyTorch", "PyTorch, fused Adam"


@dataclass(frozen=True)
class Size:
    """Cell, layers, hidden units, tokens V of the vocabulary, rows N and steps T of one training step."""

    cell: str
    layers: int
    hidden: int
    tokens: int
    rows: int
    steps: int

    def __str__(self) -> str:
        shape = f"{self.layers} x {self.hidden}, V {self.tokens}, N {self.rows}, T {self.steps}"
        return f"{self.cell.upper()} {shape}"


SIZES = {
    "characters": Size("gru", 1, 256, 65, 32, 64),  # as `pyrnnfast train`
    "words": Size("gru", 2, 256, 3000, 16, 32),  # as examples/word_model.py
    "lstm": Size("lstm", 1, 256, 65, 32, 64),
    "deep": Size("lstm", 2, 256, 65, 64, 128),
}


class Ours:
    """The model as `LanguageModel.fit` trains it."""

    def __init__(self, size: Size, ids: np.ndarray) -> None:
        vocabulary = Vocabulary.from_text(
            "".join(map(chr, range(33, 33 + size.tokens))), max_size=size.tokens
        )
        self.model = LanguageModel(
            vocabulary,
            cell=size.cell,
            embedding=EMBEDDING,
            hidden=size.hidden,
            layers=size.layers,
            rng=0,
        )
        self._adam, self._ids, self._count, self._state = Adam(self.model, LR), ids, 0, None

    def step(self) -> float:
        ids = self._ids[self._count % len(self._ids)]
        self._count += 1
        self.model.zero_grad()
        loss, self._state = self.model.loss_and_grads(ids[:-1], ids[1:], self._state)
        clip_grad_norm_(self.model, 1.0)
        self._adam.step()
        return loss

    def sample(self, length: int) -> str:
        return self.model.sample(length=length, temperature=TEMPERATURE, seed=0)[0]


class PyTorch(nn.Module):
    """The same model as its tutorials write it."""

    def __init__(self, size: Size, ids: np.ndarray, weights: dict[str, np.ndarray], fused: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size.tokens, EMBEDDING)
        self.recurrent = getattr(nn, size.cell.upper())(EMBEDDING, size.hidden, size.layers)
        self.decoder = nn.Linear(size.hidden, size.tokens)
        self.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        self.adam = torch.optim.Adam(self.parameters(), LR, fused=fused)
        self._ids, self._count, self._state = torch.from_numpy(ids), 0, None

    def step(self) -> float:
        ids = self._ids[self._count % len(self._ids)]
        self._count += 1
        self.adam.zero_grad()
        y, state = self.recurrent(self.embedding(ids[:-1]), self._state)
        self._state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        loss = nn.functional.cross_entropy(self.decoder(y).flatten(0, 1), ids[1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        self.adam.step()
        return loss.item()

    @torch.inference_mode()
    def sample(self, length: int) -> list[int]:
        token, state, drawn = torch.zeros(1, dtype=torch.int64), None, []
        for _ in range(length):
            y, state = self.recurrent(self.embedding(token), state)
            token = torch.multinomial(torch.softmax(self.decoder(y[-1]) / TEMPERATURE, -1), 1)
            drawn.append(token)
        return torch.cat(drawn).tolist()


def check(size: Size, models: dict[str, Any]) -> list[float]:
    """Take the first steps of every model; return our losses. Raises SystemExit when another's differ."""
    losses = {name: [model.step() for _ in range(CHECKED_STEPS)] for name, model in models.items()}
    for name, got in losses.items():
        if not np.allclose(got, losses[OURS], rtol=TOLERANCE, atol=0):
            raise SystemExit(f"{size}: {name} has the losses {got}, pyrnnfast {losses[OURS]}")
    return losses[OURS]


def measure(size: Size, length: int, pacing: Pacing) -> dict[str, Any]:
    ids = np.random.default_rng(0).integers(size.tokens, size=(BATCHES, size.steps + 1, size.rows))
    ours = Ours(size, ids)
    weights = ours.model.state_dict()
    peers = {PLAIN: PyTorch(size, ids, weights, False), FUSED: PyTorch(size, ids, weights, True)}
    losses = check(size, {OURS: ours, **peers})
    training = take_turns({OURS: ours.step, **{name: peer.step for name, peer in peers.items()}}, pacing)
    for model in (ours.model, *peers.values()):
        model.eval()
    sampling = take_turns(
        {OURS: lambda: ours.sample(length), PLAIN: lambda: peers[PLAIN].sample(length)}, pacing
    )
    return {
        "size": asdict(size),
        "losses": losses,
        "training": speeds(training, size.steps * size.rows),
        "sampling": speeds(sampling, length),
    }


def take_turns(calls: dict[str, Callable[[], object]], pacing: Pacing) -> dict[str, Timing]:
    return alternate(calls, pacing, {name: timed(call)[0] for name, call in calls.items()})


def speeds(timings: dict[str, Timing], tokens: int) -> dict[str, dict[str, float]]:
    """Return each name's tokens per second: the median, and those of the slower and faster quartile."""
    return {
        name: {"median": tokens / t.median, "low": tokens / t.high, "high": tokens / t.low, "calls": t.calls}
        for name, t in timings.items()
    }


def show(size: Size, result: dict[str, Any]) -> None:
    for task in ("training", "sampling"):
        each = result[task]
        best = max(value["median"] for name, value in each.items() if name != OURS)
        print(f"{size}: {task}, tokens per second")
        for name, value in each.items():
            ratio = f"   {value['median'] / best:.2f} x the best PyTorch" if name == OURS else ""
            spread = f"{value['low']:,.0f} to {value['high']:,.0f}"
            print(f"  {name:20} {value['median']:12,.0f}   ({spread}){ratio}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=runtime.get_num_threads(), help="of both libraries")
    parser.add_argument("--model", choices=SIZES, help="only this one")
    parser.add_argument("--length", type=int, default=1000, help="tokens of a sampled text")
    parser.add_argument("--blocks", type=int, default=7, help="turns of each model")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one block")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    options = parser.parse_args()
    runtime.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    pacing = Pacing(
        options.blocks, options.seconds, warmup_seconds=0.5, pause_seconds=0.02, library_seconds=math.inf
    )
    versions = {"pyrnnfast": __version__, "torch": torch.__version__, "isa": runtime.isa()}
    print(", ".join(f"{name} {version}" for name, version in versions.items()), f"threads {options.threads}")
    results = []
    for size in [SIZES[options.model]] if options.model else SIZES.values():
        results.append(measure(size, options.length, pacing))
        show(size, results[-1])
    if options.json is not None:
        report = {"versions": versions, "threads": options.threads, "results": results}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
