"""How well PyTorch's LSTM predicts held-out text after minutes of training, the rival of `pyrnnfast train`.

    python bench/held_out.py tinyshakespeare.txt --minutes 3
    pyrnnfast train tinyshakespeare.txt --minutes 3

The last tenth of the text is held out from both. The model is that of `end_to_end.py`: LSTM 1 x 256, N 32,
T 64, Adam (fused) at 6e-3, its learning rate falling along half a cosine over the time as that of `pyrnnfast
train` does, the state carried over, gradients clipped at a norm of 1.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from end_to_end import SIZES, Ours, PyTorch
from torch import nn

from pyrnnfast import runtime
from pyrnnfast.models import language_training
from pyrnnfast.text import ContiguousWindows, Vocabulary, read_text
from pyrnnfast.training import Budget

SIZE, LR = SIZES["lstm"], 6e-3
EVERY, RESERVE = 500, 5.0


@torch.inference_mode()
def held_out_loss(model: PyTorch, windows: ContiguousWindows) -> float:
    """Return the mean loss in nats per token, the state carried from window to window."""
    state, total, count = None, 0.0, 0
    for inputs, targets in windows:
        y, state = model.recurrent(model.embedding(torch.from_numpy(inputs)), state)
        logits = model.decoder(y).flatten(0, 1)
        total += nn.functional.cross_entropy(
            logits, torch.from_numpy(targets).flatten(), reduction="sum"
        ).item()
        count += targets.size
    return total / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=runtime.get_num_threads())
    options = parser.parse_args()
    began = time.monotonic()
    torch.set_num_threads(options.threads)
    trained, valid = language_training.split(read_text(options.text), None, 0.1, "char")
    vocabulary = Vocabulary.from_text(trained)
    ids, held_out = (vocabulary.encode(part, bos=True) for part in (trained, valid))
    windows = ContiguousWindows(ids, SIZE.rows, SIZE.steps, keep_last=False)
    stacked = np.stack([np.concatenate([inputs, targets[-1:]]) for inputs, targets in windows])
    size = replace(SIZE, tokens=len(vocabulary))
    model = PyTorch(size, stacked, Ours(size, stacked).model.state_dict(), fused=True)
    budget, step = Budget(minutes=options.minutes), 0
    while (done := budget.fraction(step, time.monotonic() - began, RESERVE)) < 1:
        model.adam.param_groups[0]["lr"] = budget.learning_rate(LR, step, done)
        loss = model.step()
        step += 1
        if step % EVERY == 0:
            print(f"step {step}, {time.monotonic() - began:.0f} s: loss {loss:.3f}", flush=True)
    found = held_out_loss(model.eval(), ContiguousWindows(held_out, SIZE.rows, 2048 // SIZE.rows))
    print(f"{step} steps, {time.monotonic() - began:.0f} s: {found:.4f} nats per character held out")


if __name__ == "__main__":
    main()
