"""Fill the slots of what people ask an assistant for, and find what they want: SNIPS, 7 intents and 39 slots.

    python examples/slot_filling.py snips
    python examples/slot_filling.py snips --minutes 1 --model tagger.safetensors --compare

SNIPS (Coucke et al. 2018) has 13,084 sentences to train on, 700 that tell when the weights are best, and 700
to test. The folder has them as train.txt, valid.txt and test.txt, lines of "token:tag ... <=> intent"; where
it is not there, the command that gets it is printed.

The model is `SequenceTagger` with its defaults: a bidirectional LSTM over words and their characters, without
pretrained vectors.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from options import Parser
from throughput import compare, our_step, read_packed, torch_step, torch_twin, without_dropout

from pyrnnfast.models import SequenceTagger
from pyrnnfast.models.tagger_training import NONE, TagBatch, TaggedBatches
from pyrnnfast.text import Sentence, read_sentences

DATA = (
    "https://raw.githubusercontent.com/sz128/slot_filling_and_intent_detection_of_SLU/master/data/snips/"
    "{train,valid,test}"
)
ROWS, COMPARED = 32, 16
"""Sentences of a batch, and batches that are compared."""


def read(parser: Parser, folder: Path) -> list[list[Sentence]]:
    """Return the three parts; leave with a line that says how to get them when they are not there."""
    try:
        return [read_sentences(folder / f"{part}.txt") for part in ("train", "valid", "test")]
    except (FileNotFoundError, NotADirectoryError) as error:
        parser.leave(
            f'{error.filename} is not there; get it: curl --create-dirs -o "{folder}/#1.txt" "{DATA}"'
        )
    except (OSError, ValueError) as error:
        parser.leave(str(error))


def ratio(tagger: SequenceTagger, sentences: Sequence[Sentence]) -> float:
    """Return how many times as fast such a tagger trains as the same in PyTorch."""
    import torch

    model = without_dropout(tagger)
    whole = TaggedBatches(model, sentences, ROWS).epoch(np.random.default_rng(0))
    batches = list(itertools.islice(whole, COMPARED))
    tensors = [TagBatch(*map(torch.from_numpy, batch)) for batch in batches]
    twin = torch_twin(model.train())

    def loss(batch: TagBatch) -> torch.Tensor:
        letters = twin["character_embedding"](batch.spellings)
        y, last = read_packed(twin["spelling"], letters, batch.spelling_lengths), batch.spelling_lengths - 1
        half = y.shape[2] // 2
        ends = torch.cat([y[last, torch.arange(len(last)), :half], y[0, :, half:]], 1)
        words = torch.cat([twin["embedding"](batch.words), ends[batch.spelled]], 2)
        y = read_packed(twin["recurrent"], words, batch.lengths)
        entropy = torch.nn.functional.cross_entropy
        tags = entropy(
            twin["decoder"](y).flatten(0, 1), batch.tags.flatten(), ignore_index=NONE, reduction="sum"
        )
        outside = torch.arange(len(y))[:, None] >= batch.lengths
        pooled = y.masked_fill(outside[..., None], -torch.inf).amax(0)
        intents = entropy(twin["intent_decoder"](pooled), batch.intents) if model.intents else 0.0
        return tags / len(batch.lengths) + intents

    ours = our_step(model, lambda batch: model.loss_and_grads(batch)[0], batches)
    return compare(ours, torch_step(twin, loss, tensors))


def main() -> None:
    """Read the three parts, train, print slot F1 and the accuracy of intents."""
    parser = Parser(__doc__ or "", minutes=4.0)
    parser.add_argument("data", type=Path, metavar="FOLDER", help="has train.txt, valid.txt, test.txt")
    options = parser.options()
    train, valid, test = read(parser, options.data)
    if importlib.util.find_spec("seqeval") is None:
        parser.leave("seqeval is not installed: pip install 'pyrnnfast[tag]'")
    tagger = SequenceTagger.from_examples(train, rng=options.seed)
    print(
        f"{len(train):,} sentences to train on, {len(valid):,} held out, {len(test):,} to test; "
        f"{len(tagger.tags)} tags, {len(tagger.intents or ())} intents, {tagger.num_parameters():,} weights"
    )
    outcome = tagger.fit(train, valid, minutes=options.minutes, batch=ROWS, model=options.model)
    found = tagger.evaluate(test)
    print(f"{outcome.progress.step:,} steps, {outcome.progress.tokens_per_second:,.0f} words/s")
    print(f"slot F1: {found.slot_f1:.2%}")
    if found.intent_accuracy is not None:
        print(f"intent accuracy: {found.intent_accuracy:.2%}")
    if options.compare:
        print(f"training, without dropout: {ratio(tagger, train):.2f} x PyTorch")


if __name__ == "__main__":
    main()
