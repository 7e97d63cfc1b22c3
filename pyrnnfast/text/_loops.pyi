from typing import final

import numpy as np
import numpy.typing as npt

def count_chars(text: str, counts: npt.NDArray[np.int64]) -> None: ...
def encode_chars(
    text: str, table: npt.NDArray[np.int32], unknown: int, out: npt.NDArray[np.int64]
) -> int: ...
def count_tokens(text: str, lines: bool) -> int: ...
def count_words(text: str, counts: dict[str, int]) -> int: ...

@final
class WordTable:
    def __new__(cls, words: list[str], first: int) -> WordTable: ...
    def encode(self, text: str, unknown: int, line_end: int, out: npt.NDArray[np.int64]) -> int: ...

def fill_padded(
    tokens: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    pad: int,
    out: npt.NDArray[np.int64],
) -> None: ...
