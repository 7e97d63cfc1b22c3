"""Encoding a text into ids, by characters and by words, in MB/s."""

from __future__ import annotations

import numpy as np
import pytest

from pyrnnfast.text import Vocabulary

LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


@pytest.fixture(scope="module")
def text(pytestconfig: pytest.Config) -> str:
    """Lines of words that are as frequent as in a language: the k-th in proportion to 1 / k (Zipf)."""
    count = 1_000 if pytestconfig.getoption("--suite") == "tiny" else 2_000_000
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(LETTERS, rng.integers(1, 10))) for _ in range(20_000)])
    share = 1 / np.arange(1, len(words) + 1)
    drawn = rng.choice(words, count, p=share / share.sum())
    return "\n".join(" ".join(drawn[i : i + 12]) for i in range(0, count, 12))


@pytest.mark.parametrize("unit", ["char", "word"])
def test_encode(benchmark, text: str, unit: str) -> None:
    vocabulary = Vocabulary.from_text(text, unit=unit, max_size=10_000)
    benchmark.group = f"encode by {unit}"
    benchmark(vocabulary.encode, text)
    if benchmark.stats is not None:  # None under --benchmark-disable
        benchmark.extra_info["mb_per_second"] = len(text.encode()) / benchmark.stats.stats.median / 1e6
