"""Random models that mix layers train the same with and without accelerate; so do two processes and one."""

from __future__ import annotations

import copy
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ENVIRONMENT, require

torch = require("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from pyrnnfast import torch as bridge  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")

STEPS, BATCHES = 50, 2
TOKENS, WIDTH, ROWS, LENGTH = 11, 12, 4, 9
SAFETY = 8
"""For the few trials that the derivation below draws its largest difference from."""
TRIALS = 3


class Recurrent(nn.Module):
    """Any layer of the three kinds, width in, width out; with packed input where a draw says so."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        two, self.packed = draw.random() < 0.5, draw.random() < 0.3
        kind = draw.choice([nn.LSTM, nn.GRU, nn.RNN])
        options = {"nonlinearity": "tanh"} if kind is nn.RNN else {}
        if kind is nn.LSTM and draw.random() < 0.2:
            options["proj_size"] = WIDTH // 4
        self.layer = kind(
            WIDTH,
            WIDTH // 2 if two else WIDTH,
            num_layers=draw.choice([1, 2]),
            bias=draw.random() < 0.8,
            bidirectional=two,
            batch_first=True,
            **options,
        )
        self.back = nn.LazyLinear(WIDTH)

    def forward(self, x: Any, lengths: Any) -> Any:
        if not self.packed:
            return self.back(self.layer(x)[0])
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, _ = nn.utils.rnn.pad_packed_sequence(self.layer(packed)[0], batch_first=True, total_length=LENGTH)
        return self.back(y)


class Convolution(nn.Module):
    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self.layer = nn.Conv1d(WIDTH, WIDTH, draw.choice([1, 3]), padding="same")

    def forward(self, x: Any, lengths: Any) -> Any:
        return functional.relu(self.layer(x.transpose(1, 2))).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(WIDTH, draw.choice([1, 3]), batch_first=True)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Any, lengths: Any) -> Any:
        return self.norm(x + self.layer(x, x, x, need_weights=False)[0])


class Cell(nn.Module):
    """A loop over a cell, as people write it."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self.layer = draw.choice([nn.LSTMCell, nn.GRUCell, nn.RNNCell])(WIDTH, WIDTH)

    def forward(self, x: Any, lengths: Any) -> Any:
        state, outputs = None, []
        for step in x.unbind(1):
            state = self.layer(step, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs, 1)


class Handed(nn.Module):
    """An encoder whose state begins the decoder, sometimes the same layer; gradients pass the state."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        kind = draw.choice([nn.LSTM, nn.GRU, nn.RNN])
        self.encoder = kind(WIDTH, WIDTH, num_layers=2, batch_first=True)
        self.decoder = (
            self.encoder if draw.random() < 0.3 else kind(WIDTH, WIDTH, num_layers=2, batch_first=True)
        )
        if self.decoder is not self.encoder and draw.random() < 0.5:
            self.decoder.weight_ih_l1 = self.encoder.weight_ih_l0  # tied

    def forward(self, x: Any, lengths: Any) -> Any:
        _, state = self.encoder(x)
        return self.decoder(x.flip(1), state)[0]


class Mixed(nn.Module):
    """Token ids to a loss: an embedding, layers drawn from all of the above, a linear layer tied or not."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, WIDTH)
        kinds = [Convolution, Attention, Cell, Handed]
        self.layers = nn.ModuleList([Recurrent(draw), *(draw.choice(kinds)(draw) for _ in range(2))])
        if draw.random() < 0.5:
            self.layers.append(Recurrent(draw))
        self.out = nn.Linear(WIDTH, TOKENS, bias=draw.random() < 0.5)
        if draw.random() < 0.5:
            self.out.weight = self.embedding.weight

    def forward(self, ids: Any, lengths: Any) -> Any:
        x = self.embedding(ids)
        for layer in self.layers:
            x = x + layer(x, lengths)
        return functional.cross_entropy(self.out(x).flatten(0, 1), ids.roll(1, 1).flatten())


@pytest.fixture(autouse=True)
def _one_thread():
    """Of these sizes a second one only costs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batch(seed: int) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, LENGTH + 1, (ROWS,), generator=generator)
    return torch.randint(TOKENS, (ROWS, LENGTH), generator=generator), lengths


def mixed(seed: int) -> Any:
    torch.manual_seed(seed)
    model = Mixed(random.Random(seed))
    model(*batch(0))  # lazy layers take their sizes
    return model


def trained(model: Any, jitter: Any = None) -> list[float]:
    """The losses of 50 steps; `jitter`, a generator, moves every weight by its rounding at each of them."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.5)
    losses = []
    for step in range(STEPS):
        if jitter is not None:
            move(model, jitter)
        optimizer.zero_grad()
        loss = model(*batch(step % BATCHES))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def move(model: Any, generator: Any) -> None:
    """Move each weight as far as a layer's rounding moves it, seen backward.

    A sum of K products in any order is that of weights which are off by at most sqrt(K) u of themselves, u =
    eps / 2, as the errors are independent; K is about the width, and the activations' few ULP are a few more
    terms. A step rounds forward, backward and in the gradients' sums over LENGTH * ROWS rows.
    """
    size = (2 * WIDTH + LENGTH * ROWS) ** 0.5 * torch.finfo(torch.float32).eps / 2
    with torch.no_grad():
        for value in model.parameters():
            value *= 1 + size * torch.randn(value.shape, generator=generator)


@pytest.mark.parametrize("seed", range(8))
def test_random_models_train_the_same(seed: int) -> None:
    """The losses agree as well as those of PyTorch alone do when its weights are moved by rounding."""
    model = mixed(seed)
    want = trained(copy.deepcopy(model))
    differences = torch.zeros(STEPS)
    for trial in range(TRIALS):
        other = trained(copy.deepcopy(model), torch.Generator().manual_seed(trial))
        differences = torch.maximum(differences, (torch.tensor(other) - torch.tensor(want)).abs())
    allowed = SAFETY * differences.cummax(0).values + torch.finfo(torch.float32).eps * torch.tensor(want)
    assert allowed.max() < 1e-3 * (want[0] - want[-1])  # it is nothing beside what is learned
    fast = bridge.accelerate(model)
    got = trained(fast)
    off = (torch.tensor(got) - torch.tensor(want)).abs()
    assert (off <= allowed).all(), (off / allowed).max()
    used = [module for module in fast.modules() if hasattr(module, "_pyrnnfast_counts")]
    assert used
    assert all(module._pyrnnfast_counts["kernels"] >= STEPS for module in used if not has_projection(module))
    slow = bridge.restore(fast)
    assert not any(type(module).__module__.startswith("pyrnnfast") for module in slow.modules())


def has_projection(module: Any) -> bool:
    return getattr(module, "proj_size", 0) > 0


def test_the_tolerance_is_below_an_error_of_a_thousandth() -> None:
    model = mixed(0)
    want = torch.tensor(trained(copy.deepcopy(model)))
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.layers[0].layer.weight_hh_l0 *= 1.001
    moved = trained(copy.deepcopy(model), torch.Generator().manual_seed(0))
    allowed = SAFETY * (torch.tensor(moved) - want).abs().cummax(0).values
    assert ((torch.tensor(trained(other)) - want).abs() > allowed).any()


# --- Two processes

DISTRIBUTED = """
import sys

import torch
from torch import nn

from pyrnnfast.torch import accelerate

torch.set_num_threads(1)
place, rank, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
torch.distributed.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
torch.manual_seed(0)
model = accelerate(nn.LSTM(5, 7, num_layers=2, bidirectional=True), backend="strict")
x, dy = torch.randn(6, 4, 5), torch.randn(6, 4, 14)
parallel = nn.parallel.DistributedDataParallel(model)
for _ in range(2):  # from the second call on, buckets are laid out by the order in which gradients come
    parallel.zero_grad()
    rows = slice(2 * rank, 2 * rank + 2)
    parallel(x[:, rows])[0].backward(dy[:, rows])
shared = {name: value.grad.clone() for name, value in model.named_parameters()}
model.zero_grad()
model(x)[0].backward(dy / 2)  # the processes' gradients are averaged
torch.save([shared, {name: value.grad for name, value in model.named_parameters()}], file)
torch.distributed.destroy_process_group()
"""


def test_gradients_of_two_processes_are_those_of_one(tmp_path: Path) -> None:
    if not torch.distributed.is_available():
        pytest.skip("this PyTorch is built without torch.distributed")
    files = [tmp_path / f"{rank}.pt" for rank in range(2)]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", DISTRIBUTED, str(tmp_path / "meeting"), str(rank), str(file)],
            cwd=tmp_path,
            env={**ENVIRONMENT, "GLOO_SOCKET_IFNAME": "lo"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, file in enumerate(files)
    ]
    errors = [run.communicate(timeout=60)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], errors
    gradients = [torch.load(file) for file in files]
    for name, want in gradients[0][1].items():
        first, second = (shared[name] for shared, _ in gradients)
        assert torch.equal(first, second), name
        # the same products are summed over the rows in two parts: 6 * 4 roundings, as independent errors
        allowed = 8 * 24**0.5 * torch.finfo(torch.float32).eps * float(want.abs().max())
        torch.testing.assert_close(first, want, rtol=0, atol=allowed)
