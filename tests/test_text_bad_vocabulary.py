"""Vocabulary: every bad argument and every broken or lying JSON gets an error that says what is wrong."""

import json
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrnnfast.text import Vocabulary


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: Vocabulary.from_text(b"a"), TypeError, r"texts\[0\]: expected str, got int"),
        (lambda: Vocabulary.from_text(5), TypeError, "texts: expected str or an iterable of str, got int"),
        (lambda: Vocabulary.from_text(["a", None]), TypeError, r"texts\[1\]: expected str, got NoneType"),
        (lambda: Vocabulary.from_text("a", unit="byte"), ValueError, "unit: expected one of .*got 'byte'"),
        (lambda: Vocabulary.from_text("a", unit=None), TypeError, "unit: expected str, got NoneType"),
        (lambda: Vocabulary.from_text("a", min_count=0), ValueError, "min_count: expected at least 1, got 0"),
        (lambda: Vocabulary.from_text("a", min_count=1.0), TypeError, "min_count: expected an integer"),
        (lambda: Vocabulary.from_text("a", min_count=True), TypeError, "min_count: expected an integer"),
        (lambda: Vocabulary.from_text("a", min_count=2**70), ValueError, "min_count: expected at most"),
        (lambda: Vocabulary.from_text("a", max_size=3), ValueError, "max_size: expected at least 4, got 3"),
        (
            lambda: Vocabulary.from_text("a", max_size="9"),
            TypeError,
            "max_size: expected an integer, got str",
        ),
        (lambda: Vocabulary.from_text("", specials=()), ValueError, "at least one token or special"),
        (lambda: Vocabulary.from_text("a", specials="<UNK>"), TypeError, "specials: expected a sequence"),
        (lambda: Vocabulary.from_text("a", specials={"<UNK>"}), TypeError, "expected a sequence, got set"),
        (lambda: Vocabulary.from_text("a", specials=[1]), TypeError, "specials: expected str, got int"),
        (lambda: Vocabulary.from_text("a", specials=["<X>"]), ValueError, "specials: expected distinct ones"),
        (
            lambda: Vocabulary.from_text("a", specials=["<UNK>"] * 2),
            ValueError,
            "specials: expected distinct",
        ),
        (lambda: Vocabulary.from_text("a", lowercase=1), TypeError, "lowercase: expected bool, got int"),
        (lambda: Vocabulary("ab"), TypeError, "tokens: expected a sequence, got str"),
        (lambda: Vocabulary(3), TypeError, "tokens: expected a sequence, got int"),
        (lambda: Vocabulary(["a", 1]), TypeError, r"tokens\[1\]: expected str, got int"),
        (lambda: Vocabulary(["a", "b", "a"]), ValueError, "distinct tokens, got 'a' more than once"),
        (lambda: Vocabulary(["ab"]), ValueError, r"tokens\[0\]: expected one code point, got 'ab'"),
        (lambda: Vocabulary([""]), ValueError, r"tokens\[0\]: expected one code point, got ''"),
        (lambda: Vocabulary(["a b"], unit="word"), ValueError, "expected a word without white space"),
        (lambda: Vocabulary([""], unit="word"), ValueError, "expected a word without white space, got ''"),
        (lambda: Vocabulary(["A"], lowercase=True), ValueError, r"tokens\[0\]: expected lower case, got 'A'"),
        (lambda: Vocabulary(["a"], [1]), ValueError, "counts: expected 5, .*, got 1"),
        (
            lambda: Vocabulary(["a"], [0, 0, 0, 0, -1]),
            ValueError,
            r"counts\[4\]: expected at least 0, got -1",
        ),
        (lambda: Vocabulary(["a"], [0, 0, 0, 0, 1.0]), TypeError, r"counts\[4\]: expected an integer"),
        (lambda: Vocabulary(["a"]).encode(b"a"), TypeError, "text: expected str, got bytes"),
        (lambda: Vocabulary(["a"]).encode(None), TypeError, "text: expected str, got NoneType"),
        (lambda: Vocabulary(["a"]).encode("a", bos=1), TypeError, "bos: expected bool, got int"),
        (lambda: Vocabulary(["a"]).decode([5]), ValueError, "ids: expected ids below 5, got 5"),
        (lambda: Vocabulary(["a"]).decode([-1]), ValueError, r"ids: expected ids in 0..2\*\*63 - 1, got -1"),
        (lambda: Vocabulary(["a"]).decode([2**63]), ValueError, "ids: expected ids in"),
        (lambda: Vocabulary(["a"]).decode([0.0]), TypeError, "ids: expected integers, got .* float64"),
        (lambda: Vocabulary(["a"]).decode([True]), TypeError, "ids: expected integers, got .* bool"),
        (lambda: Vocabulary(["a"]).decode("a"), TypeError, "ids: expected integers"),
        (lambda: Vocabulary(["a"]).decode([[0]]), ValueError, r"expected 1 dimension, got shape \(1, 1\)"),
        (lambda: Vocabulary(["a"]).decode(0), ValueError, r"expected 1 dimension, got shape \(\)"),
        (lambda: Vocabulary(["a"]).decode([[0], [0, 1]]), ValueError, "one flat sequence"),
        (lambda: Vocabulary(["a"]).decode(np.zeros(0)), TypeError, "ids: expected integers, got .* float64"),
        (lambda: Vocabulary.from_json(b"{}"), TypeError, "text: expected str, got bytes"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def stored(**changes):
    fields = {
        "format": "pyrnnfast.vocabulary",
        "version": 1,
        "unit": "char",
        "lowercase": False,
        "specials": ["<UNK>"],
        "tokens": ["a", [0xD800]],
        "counts": [0, 2, 1],
    } | changes
    return json.dumps({name: value for name, value in fields.items() if value != "absent"})


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        (stored()[:-1] + ', "version": 1}', "a field appears twice"),
        (stored(counts=[float("nan")]), "NaN is not JSON"),
        ("[]", "expected an object, got list"),
        ("{}", "format: expected 'pyrnnfast.vocabulary', got None"),
        (stored(format="other"), "format: expected .* got 'other'"),
        (stored(version=2), "version: expected 1, got 2"),
        (stored(version=True), "version: expected 1, got True"),
        (stored(tokens="absent"), r"missing fields \['tokens'\]"),
        (stored(more=1), r"unexpected fields \['more'\]"),
        (stored(unit=1), "unit: expected str, got int"),
        (stored(unit="x" * 99), "unit: expected one of"),
        (stored(lowercase=0), "lowercase: expected bool, got int"),
        (stored(specials={}), "specials: expected list, got dict"),
        (stored(specials=[[]]), "specials: expected str, got list"),
        (stored(specials=["<NO>"]), "specials: expected distinct ones"),
        (stored(tokens="ab"), "tokens: expected list, got str"),
        (stored(tokens=["a", None]), r"tokens\[1\]: expected a string or code points, got None"),
        (stored(tokens=["a", [0x110000]]), r"tokens\[1\]: expected a string or code points"),
        (stored(tokens=["a", [-1]]), r"tokens\[1\]: expected a string or code points"),
        (stored(tokens=["a", [True]]), r"tokens\[1\]: expected a string or code points"),
        (stored(tokens=["a", "\ud800"]), r"tokens\[1\]: expected a string or code points"),
        (stored(tokens=["a", "a"]), "expected distinct tokens, got 'a'"),
        (stored(tokens=["a", "bc"]), r"tokens\[1\]: expected one code point, got 'bc'"),
        (stored(unit="word", tokens=["a", "b "]), "expected a word without white space"),
        (stored(lowercase=True, tokens=["a", "B"]), "expected lower case, got 'B'"),
        (stored(tokens=["a"]), "counts: expected 2, .*, got 3"),
        (stored(counts=[0, 1, -1]), r"counts\[2\]: expected at least 0, got -1"),
        (stored(counts=[0, 1, 1.5]), r"counts\[2\]: expected an integer, got float"),
        (stored(counts=[0, 1, True]), r"counts\[2\]: expected an integer, got bool"),
        (stored(counts=[0, 1, 10**30]), r"counts\[2\]: expected at most"),
    ],
)
def test_bad_json(text, message):
    with pytest.raises(ValueError, match="not a vocabulary: .*" + message):
        Vocabulary.from_json(text)


def test_good_json():
    assert Vocabulary.from_json(stored()).tokens == ("a", "\ud800")


@settings(max_examples=50)
@given(st.integers(0, 10**9), st.text(string.printable, max_size=3))
def test_damaged_json_is_a_value_error_or_a_vocabulary(place, damage):
    text = stored()
    place %= len(text)
    try:
        damaged = Vocabulary.from_json(text[:place] + damage + text[place + 1 :])
    except ValueError:
        return
    assert Vocabulary.from_json(damaged.to_json()) == damaged
