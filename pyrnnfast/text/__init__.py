"""From text to arrays of token ids and to batches of them.

`Vocabulary` turns text into ids and back; `ContiguousWindows` cuts one long stream for truncated
backpropagation through time; `BucketedBatches` pads sequences of near lengths together.
"""

from pyrnnfast.text._entries import SPECIALS
from pyrnnfast.text.batching import BucketedBatches, ContiguousWindows, RaggedBatch, Window
from pyrnnfast.text.vocabulary import Vocabulary

__all__ = ["SPECIALS", "BucketedBatches", "ContiguousWindows", "RaggedBatch", "Vocabulary", "Window"]
