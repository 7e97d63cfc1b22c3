"""Vocabulary: what is counted, kept, encoded, decoded and stored, against the same in plain Python."""

import pickle
import re
import sys
from collections import Counter
from pydoc_data.topics import topics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrnnfast.text import SPECIALS, Vocabulary, _loops

SURROGATES = "\ud800\udfff\ud83d\ude00"
SPACES = "".join(c for c in map(chr, range(0x110000)) if c.isspace())
MIXED = "ab\u00e9\u00ff\u0100\u4e16\u754c\uffff\U0001f600\U0010ffff" + SURROGATES
any_text = st.one_of(
    st.text(st.characters(codec=None, exclude_categories=())),  # every plane, lone surrogates too
    st.text(st.sampled_from(MIXED + SPACES + "\r\n\n\n\r  ")),
    st.text(st.sampled_from("ab\xa0\x85 \r\n")),  # one byte a character
    st.text(st.sampled_from("ab\u3000\u2028\u4e16 \r\n")),  # two
)
units = st.sampled_from(["char", "word"])
some_specials = st.lists(st.sampled_from(SPECIALS), unique=True).map(tuple)


def tokens_of(text: str, unit: str, lines: bool) -> list[str]:
    """The oracle of the tokenizer; a line end is "\\n" in the unit "word"."""
    if unit == "char":
        return list(text)
    first, *rest = re.split(r"\r\n|\r|\n", text)
    tokens = first.split()
    for line in rest:
        tokens += ["\n"] * lines + line.split()
    return tokens


def encode_slowly(vocabulary: Vocabulary, text: str) -> list[int]:
    ids = {token: len(vocabulary.specials) + i for i, token in enumerate(vocabulary.tokens)}
    if vocabulary.unit == "word" and vocabulary.eos_id is not None:
        ids["\n"] = vocabulary.eos_id
    tokens = tokens_of(text, vocabulary.unit, vocabulary.eos_id is not None)
    return [ids.get(token, vocabulary.unk_id) for token in tokens]


# Building ---------------------------------------------------------------------------------------------------


def test_order_is_count_then_code_point():
    vocabulary = Vocabulary.from_text("bbaaac\U0001f600é")
    assert vocabulary.entries == (*SPECIALS, "a", "b", "c", "é", "\U0001f600")
    assert vocabulary.counts == (0, 0, 0, 0, 3, 2, 1, 1, 1)
    assert (vocabulary.pad_id, vocabulary.unk_id, vocabulary.bos_id, vocabulary.eos_id) == (0, 1, 2, 3)
    assert vocabulary["é"] == 7
    assert len(vocabulary) == 9


def test_specials_are_an_option():
    vocabulary = Vocabulary.from_text("ab", specials=("<EOS>", "<UNK>"))
    assert vocabulary.entries == ("<EOS>", "<UNK>", "a", "b")
    assert (vocabulary.pad_id, vocabulary.unk_id, vocabulary.bos_id, vocabulary.eos_id) == (None, 1, None, 0)
    assert Vocabulary.from_text("ab", specials=()).encode("ba").tolist() == [1, 0]


def test_chinese_words_and_characters():
    text = "我们 去 公园\u3000散步\n我们 跑步\n"
    words = Vocabulary.from_text(text, unit="word")
    assert words.tokens == ("我们", "公园", "去", "散步", "跑步")
    assert words.counts[words.eos_id] == 2
    assert words.decode(words.encode(text)) == "我们 去 公园 散步\n我们 跑步\n"
    characters = Vocabulary.from_text(text)
    assert characters.decode(characters.encode(text)) == text


def test_minimum_count_and_maximum_size():
    text = "aaaa bbb cc d"
    assert Vocabulary.from_text(text, min_count=3).tokens == ("a", " ", "b")
    few = Vocabulary.from_text(text, max_size=6)
    assert few.tokens == ("a", " ")
    assert few.counts[few.unk_id] == 6
    assert Vocabulary.from_text(text, max_size=len(SPECIALS)).tokens == ()
    assert Vocabulary.from_text(text.split(), unit="word", min_count=2).tokens == ()


def test_texts_are_one_or_many(tmp_path):
    path = tmp_path / "text"
    path.write_text("a b\nb\n", encoding="utf-8")
    with path.open(encoding="utf-8") as lines:
        assert Vocabulary.from_text(lines) == Vocabulary.from_text("a b\nb\n")
    assert Vocabulary.from_text(t for t in ("ab", "", "b")) == Vocabulary.from_text("abb")


def test_lowercase():
    vocabulary = Vocabulary.from_text("Ab aB İ ΑΣ", unit="word", lowercase=True)
    assert vocabulary.tokens == ("ab", "i\u0307", "ας")
    assert vocabulary.encode("AB İ").tolist() == [4, 5]
    assert Vocabulary.from_text("aA", lowercase=True) != Vocabulary.from_text("aa")


def test_every_cased_code_point_can_be_in_a_lowercase_vocabulary():
    cased = "".join(c for c in map(chr, range(0x110000)) if c.lower() != c or c.upper() != c)
    vocabulary = Vocabulary.from_text(cased, lowercase=True)
    assert vocabulary.unk_id not in vocabulary.encode(cased)


@given(st.lists(any_text, max_size=3), units, some_specials, st.integers(1, 3), st.integers(0, 8))
def test_counting_equals_plain_python(texts, unit, specials, min_count, room):
    counts = Counter(token for text in texts for token in tokens_of(text, unit, True))
    line_ends = counts.pop("\n", 0) if unit == "word" else 0
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = [item for item in ranked if item[1] >= min_count][: room or None]
    if not kept and not specials:
        with pytest.raises(ValueError, match="got none"):
            Vocabulary.from_text(texts, unit=unit, specials=specials, min_count=min_count)
        return
    max_size = len(specials) + room if room else None
    vocabulary = Vocabulary.from_text(
        texts, unit=unit, specials=specials, min_count=min_count, max_size=max_size
    )
    assert vocabulary.tokens == tuple(token for token, _ in kept)
    assert vocabulary.counts[len(specials) :] == tuple(count for _, count in kept)
    unknown = sum(counts.values()) - sum(count for _, count in kept)
    seen = {"<UNK>": unknown, "<EOS>": line_ends}
    assert vocabulary.counts[: len(specials)] == tuple(seen.get(special, 0) for special in specials)


# Encoding and decoding --------------------------------------------------------------------------------------


@given(any_text, any_text, units, some_specials)
def test_encoding_equals_plain_python(known, text, unit, specials):
    vocabulary = Vocabulary.from_text([known], unit=unit, specials=sorted({*specials, "<UNK>"}))
    for each in (known, text, known + text):
        ids = vocabulary.encode(each)
        assert ids.dtype == np.int64
        assert ids.tolist() == encode_slowly(vocabulary, each)


@given(any_text, some_specials)
def test_characters_come_back(text, specials):
    vocabulary = Vocabulary.from_text(text + "x", specials=specials)
    assert vocabulary.decode(vocabulary.encode(text)) == text


@given(any_text)
def test_words_come_back_with_single_spaces(text):
    vocabulary = Vocabulary.from_text(text, unit="word")
    decoded = vocabulary.decode(vocabulary.encode(text))
    assert decoded == "\n".join(" ".join(line.split()) for line in re.split(r"\r\n|\r|\n", text))
    assert vocabulary.encode(decoded).tolist() == vocabulary.encode(text).tolist()


def test_line_ends_without_eos_are_white_space():
    vocabulary = Vocabulary.from_text("a\nb", unit="word", specials=("<UNK>",))
    assert vocabulary.encode("a\r\nb\r\nc").tolist() == [1, 2, 0]


def test_bos_and_eos():
    for unit in ("char", "word"):
        vocabulary = Vocabulary.from_text("a", unit=unit)
        assert vocabulary.encode("a", bos=True, eos=True).tolist() == [2, 4, 3]
        assert vocabulary.encode("", bos=True).tolist() == [2]
        assert vocabulary.encode("").shape == (0,)
    bare = Vocabulary.from_text("a", specials=())
    with pytest.raises(ValueError, match=r"bos: expected a vocabulary with <BOS>, got one with \(\)"):
        bare.encode("a", bos=True)
    with pytest.raises(ValueError, match="eos: expected a vocabulary with <EOS>"):
        bare.encode("a", eos=True)


def test_decoding_specials():
    characters = Vocabulary.from_text("a")
    assert characters.decode([2, 4, 1, 3, 0]) == "a<UNK>"
    assert characters.decode([2, 4, 1, 3, 0], show_specials=True) == "<BOS>a<UNK><EOS><PAD>"
    words = Vocabulary.from_text("a", unit="word")
    assert words.decode([2, 4, 1, 3, 4, 3, 3, 0]) == "a <UNK>\na\n\n"
    assert words.decode([2, 4, 3], show_specials=True) == "<BOS> a <EOS>"
    assert words.decode([]) == characters.decode(np.zeros(0, np.uint8)) == ""


@pytest.mark.parametrize("unit", ["char", "word"])
def test_text_that_spells_a_special_is_text(unit):
    text = "<UNK> <PAD> <EOS>"
    vocabulary = Vocabulary.from_text(text, unit=unit)
    ids = vocabulary.encode(text)
    assert ids.min() >= len(SPECIALS)
    assert vocabulary.decode(ids) == text
    assert "<UNK>" not in Vocabulary.from_text("a", unit=unit)
    assert ("<UNK>" in vocabulary) == (unit == "word")


def test_unknown_tokens_without_unk_are_named():
    characters = Vocabulary.from_text("abc ", specials=("<PAD>",))
    for unknown, point in (("é", "00E9"), ("世", "4E16"), ("\U0001f600", "1F600"), ("\ud800", "D800")):
        with pytest.raises(ValueError, match=rf"character U\+{point} '.+' at index 2 .* has no <UNK>"):
            characters.encode("ab" + unknown + "c")
    words = Vocabulary.from_text("we run", unit="word", specials=())
    with pytest.raises(ValueError, match=r"word 'walk' at index 3 .* has no <UNK>"):
        words.encode("we walk home")


@settings(max_examples=30)
@given(st.data())
def test_many_words_and_near_misses(data):
    """A table full enough for long probes: prefixes, extensions and equal lengths must not match."""
    words = data.draw(st.lists(st.text("ab世\U0001f600", min_size=1), unique=True, max_size=300))
    vocabulary = Vocabulary(words, unit="word", specials=("<UNK>",))
    asked = data.draw(st.lists(st.text("ab世\U0001f600", min_size=1))) + words
    assert vocabulary.encode(" ".join(asked)).tolist() == encode_slowly(vocabulary, " ".join(asked))


def test_str_subclasses_are_read_as_they_are():
    class Text(str):
        def __str__(self) -> str:
            return "something else"

    vocabulary = Vocabulary.from_text(Text("ab"))
    assert vocabulary.tokens == ("a", "b")
    assert vocabulary.encode(Text("ba")).tolist() == [5, 4]


def test_white_space_is_that_of_python():
    for c in map(chr, range(sys.maxunicode + 1)):
        if c not in "\r\n":
            assert _loops.count_tokens("a" + c + "b", True) == (2 if c.isspace() else 1)


# The object -------------------------------------------------------------------------------------------------


@given(any_text, units, some_specials, st.booleans())
def test_json_and_pickle_give_an_equal_vocabulary(text, unit, specials, lowercase):
    text += "x"
    vocabulary = Vocabulary.from_text(text, unit=unit, specials=specials, lowercase=lowercase)
    stored = vocabulary.to_json()
    assert stored.isascii()
    for again in (Vocabulary.from_json(stored), pickle.loads(pickle.dumps(vocabulary))):
        assert again == vocabulary
        assert hash(again) == hash(vocabulary)
        assert again.entries == vocabulary.entries
        assert again.counts == vocabulary.counts
        assert again.to_json() == stored
        assert (again.encode(text) == vocabulary.encode(text)).all()


def test_surrogate_pairs_in_words_are_not_joined():
    text = "\ud83d\ude00 \U0001f600"
    vocabulary = Vocabulary.from_text(text, unit="word")
    assert Vocabulary.from_json(vocabulary.to_json()).tokens == ("\ud83d\ude00", "\U0001f600")


def test_container_protocol():
    vocabulary = Vocabulary.from_text("a")
    assert "a" in vocabulary
    assert "b" not in vocabulary
    assert 4 not in vocabulary
    with pytest.raises(KeyError):
        vocabulary["b"]
    with pytest.raises(TypeError, match="token: expected str, got int"):
        vocabulary[0]
    assert vocabulary != Vocabulary.from_text("aa")  # other counts
    assert vocabulary != "a"
    assert repr(vocabulary).startswith("Vocabulary(1 tokens, unit='char'")
    with pytest.raises(AttributeError):
        vocabulary.unit = "word"


def test_a_whole_book() -> None:
    text = "\n".join(topics.values())
    characters = Vocabulary.from_text(text, specials=())
    assert len(characters) == len(set(text))
    assert characters.decode(characters.encode(text)) == text
    words = Vocabulary.from_text(text, unit="word", max_size=5000)
    assert words.encode(text).tolist() == encode_slowly(words, text)
