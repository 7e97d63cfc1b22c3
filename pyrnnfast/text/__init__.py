"""From text to arrays of token ids and to batches of them.

`Vocabulary` turns text into ids and back; `ContiguousWindows` cuts one long stream for truncated
backpropagation through time; `BucketedBatches` pads sequences of near lengths together. `read_text`,
`read_lines`, `read_table`, `read_examples` and `read_sentences` read files; `Labels` numbers labels.
"""

from pyrnnfast import _backend

try:
    from pyrnnfast.text import _loops  # noqa: F401
except ImportError as error:
    raise _backend.not_built("pyrnnfast.text._loops") from error

from pyrnnfast.text._entries import SPECIALS
from pyrnnfast.text.batching import BucketedBatches, ContiguousWindows, RaggedBatch, Window
from pyrnnfast.text.examples import Examples, Labels, read_examples
from pyrnnfast.text.reading import Record, read_lines, read_table, read_text
from pyrnnfast.text.tagged import Sentence, read_sentences
from pyrnnfast.text.vocabulary import Vocabulary

__all__ = [
    "SPECIALS",
    "BucketedBatches",
    "ContiguousWindows",
    "Examples",
    "Labels",
    "RaggedBatch",
    "Record",
    "Sentence",
    "Vocabulary",
    "Window",
    "read_examples",
    "read_lines",
    "read_sentences",
    "read_table",
    "read_text",
]
