"""A vocabulary of characters or words: which token has which id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from pyrnnfast._types import Array, ArrayLike, Integers
from pyrnnfast.text import _loops, _stored
from pyrnnfast.text._checks import as_bool, as_count, as_ids, as_text
from pyrnnfast.text._counting import count_chars, count_words, each_text
from pyrnnfast.text._entries import (
    BOS,
    EOS,
    PAD,
    SPECIALS,
    UNK,
    check_counts,
    check_specials,
    check_tokens,
    check_unit,
)


class Vocabulary:
    """An immutable table of tokens and their ids, which encodes text and decodes ids.

    Ids 0, 1, ... go to the specials first, then to the tokens. A special is not a token of any text: a text
    that contains the characters "<UNK>" gets the ids of these characters, or of this word.

    - unit "char": every code point of the text is a token, line ends and lone surrogates included.
    - unit "word": a token is a longest run of characters without white space (`str.split`). When the
      vocabulary has `<EOS>`, each line end (LF, CR LF or CR) becomes `eos_id`; without it, line ends are
      white space like any other.

    Args:
        tokens: distinct str, in the order of their ids: single code points, or words without white space.
        counts: how often each entry was seen, specials first, then tokens; None for zeros.
        unit: "char" or "word".
        specials: which of `SPECIALS` there are, in the order of their ids.
        lowercase: whether text goes through `str.lower` before it is encoded.

    Raises:
        TypeError, ValueError: an argument of another type, or one that contradicts this description.
    """

    __slots__ = ("_counts", "_entries", "_ids", "_lowercase", "_specials", "_table", "_unit")

    def __init__(
        self,
        tokens: Sequence[str],
        counts: Sequence[int] | None = None,
        *,
        unit: str = "char",
        specials: Sequence[str] = SPECIALS,
        lowercase: bool = False,
    ) -> None:
        self._unit = check_unit(unit)
        self._specials = check_specials(specials)
        self._lowercase = as_bool("lowercase", lowercase)
        texts = check_tokens(tokens, self._unit, self._lowercase)
        self._entries = self._specials + texts
        if not self._entries:
            raise ValueError("tokens: expected at least one token or special, got none")
        self._counts = check_counts(counts, len(self._entries))
        first = len(self._specials)
        self._ids = {token: first + i for i, token in enumerate(texts)}
        if len(self._ids) != len(texts):
            twice = next(token for i, token in enumerate(texts) if self._ids[token] != first + i)
            raise ValueError(f"tokens: expected distinct tokens, got {twice!r} more than once")
        self._table = (
            _table_of_characters(self._ids) if unit == "char" else _loops.WordTable(list(texts), first)
        )

    @classmethod
    def from_text(
        cls,
        texts: str | Iterable[str],
        *,
        unit: str = "char",
        min_count: int = 1,
        max_size: int | None = None,
        specials: Sequence[str] = SPECIALS,
        lowercase: bool = False,
    ) -> Vocabulary:
        """Count the tokens of texts and keep the frequent ones, by count descending, then by code points.

        Args:
            texts: one text or an iterable of texts (an open file is one: its lines).
            unit: "char" or "word".
            min_count: the least number of occurrences of a token that is kept, >= 1.
            max_size: the largest `len` of the vocabulary, specials included; None for no limit.
            specials: which of `SPECIALS` there are, in the order of their ids.
            lowercase: whether text goes through `str.lower`, here and in `encode`.

        Returns:
            The vocabulary. Its counts also tell the number of line ends (of `<EOS>`, unit "word") and of
            occurrences of the tokens that were left out (of `<UNK>`).

        Raises:
            TypeError, ValueError: a wrong argument, or texts without any token and no specials.
        """
        check_unit(unit)
        specials = check_specials(specials)
        lowercase = as_bool("lowercase", lowercase)
        min_count = as_count("min_count", min_count, 1)
        most = (
            None
            if max_size is None
            else as_count("max_size", max_size, max(1, len(specials))) - len(specials)
        )
        counted, line_ends = (count_chars if unit == "char" else count_words)(each_text(texts, lowercase))
        ranked = sorted(counted, key=lambda item: (-item[1], item[0]))
        kept = [item for item in ranked if item[1] >= min_count][:most]
        unknown = sum(count for _, count in ranked[len(kept) :])
        seen = {UNK: unknown, EOS: line_ends}
        counts = [seen.get(special, 0) for special in specials] + [count for _, count in kept]
        return cls([token for token, _ in kept], counts, unit=unit, specials=specials, lowercase=lowercase)

    @property
    def unit(self) -> str:
        """What a token is: "char" or "word"."""
        return self._unit

    @property
    def lowercase(self) -> bool:
        """Whether text goes through `str.lower` before it is encoded."""
        return self._lowercase

    @property
    def specials(self) -> tuple[str, ...]:
        """The names of the specials, in the order of their ids 0, 1, ..."""
        return self._specials

    @property
    def entries(self) -> tuple[str, ...]:
        """The spelling of every id: the names of the specials, then the tokens."""
        return self._entries

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens without the specials; the first has the id `len(specials)`."""
        return self._entries[len(self._specials) :]

    @property
    def counts(self) -> tuple[int, ...]:
        """How often each entry was seen in the texts that the vocabulary was made from."""
        return self._counts

    @property
    def pad_id(self) -> int | None:
        """The id of `<PAD>`, or None."""
        return self._special_id(PAD)

    @property
    def unk_id(self) -> int | None:
        """The id of `<UNK>`, or None."""
        return self._special_id(UNK)

    @property
    def bos_id(self) -> int | None:
        """The id of `<BOS>`, or None."""
        return self._special_id(BOS)

    @property
    def eos_id(self) -> int | None:
        """The id of `<EOS>`, or None."""
        return self._special_id(EOS)

    def encode(self, text: str, *, bos: bool = False, eos: bool = False) -> Integers:
        """Turn a text into ids.

        Args:
            text: any str.
            bos: whether `bos_id` is put before the text.
            eos: whether `eos_id` is put after the text.

        Returns:
            int64 [number of tokens]; a token that is not in the vocabulary becomes `unk_id`.

        Raises:
            TypeError: text is not a str.
            ValueError: an unknown token and no `<UNK>`; bos or eos without that special in the vocabulary.
        """
        text = as_text("text", text)
        if self._lowercase:
            text = text.lower()
        before = [self._require("bos", BOS)] if as_bool("bos", bos) else []
        after = [self._require("eos", EOS)] if as_bool("eos", eos) else []
        unknown = -1 if self.unk_id is None else self.unk_id
        line_end = -1 if self.eos_id is None else self.eos_id
        length = len(text) if self._unit == "char" else _loops.count_tokens(text, line_end >= 0)
        ids = np.empty(len(before) + length + len(after), np.int64)
        ids[: len(before)], ids[len(before) + length :] = before, after
        body = ids[len(before) : len(before) + length]
        if isinstance(self._table, _loops.WordTable):
            stopped = self._table.encode(text, unknown, line_end, body)
        else:
            stopped = _loops.encode_chars(text, self._table, unknown, body)
        if stopped >= 0:
            raise ValueError(self._describe_unknown(text, stopped))
        return ids

    def decode(self, ids: ArrayLike, *, show_specials: bool = False) -> str:
        """Turn ids into text: characters one after the other, words with single spaces between them.

        Args:
            ids: [number of tokens], integers in 0..len - 1.
            show_specials: whether every special is spelled by its name. By default only `<UNK>` is; `<EOS>`
                is a line feed in the unit "word", and the others leave nothing.

        Returns:
            The text. In the unit "char", `decode(encode(text)) == text` when all of the text was known.

        Raises:
            TypeError, ValueError: ids of another type or rank, or an id that there is not.
        """
        array = as_ids("ids", ids)
        if array.size and array.max() >= len(self):
            raise ValueError(f"ids: expected ids below {len(self)}, got {array.max()}")
        spelled: list[str] = list(self._entries)
        keep = np.ones(len(self), bool)
        if not as_bool("show_specials", show_specials):
            for id, special in enumerate(self._specials):
                if special == EOS and self._unit == "word":
                    spelled[id] = "\n"
                else:
                    keep[id] = special == UNK
            array = array[keep[array]]
        pieces = map(spelled.__getitem__, array.tolist())
        if self._unit == "char":
            return "".join(pieces)
        return " ".join(pieces).replace(" \n", "\n").replace("\n ", "\n")

    def to_json(self) -> str:
        """Return the whole vocabulary as JSON in ASCII, from which `from_json` makes an equal one."""
        return _stored.dumps(self._unit, self._lowercase, self._specials, self.tokens, self._counts)

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """Make a vocabulary from what `to_json` returned.

        Raises:
            TypeError: text is not a str.
            ValueError: it is not such JSON, with what is wrong.
        """
        fields = _stored.loads(as_text("text", text))
        try:
            return cls(**fields)
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a vocabulary: {error}") from error

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, token: object) -> bool:
        """Whether `token` is a token of the vocabulary (the name of a special is not)."""
        return isinstance(token, str) and token in self._ids

    def __getitem__(self, token: str) -> int:
        """The id of a token; KeyError when there is none. The specials have properties: `unk_id`, ..."""
        return self._ids[as_text("token", token)]

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, Vocabulary) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return (
            f"Vocabulary({len(self.tokens)} tokens, unit={self._unit!r}, specials={self._specials!r}, "
            f"lowercase={self._lowercase})"
        )

    def __reduce__(self) -> tuple[Callable[[str], Vocabulary], tuple[str]]:
        return type(self).from_json, (self.to_json(),)

    def _identity(self) -> tuple[object, ...]:
        return self._unit, self._lowercase, self._specials, self._entries, self._counts

    def _special_id(self, special: str) -> int | None:
        return self._specials.index(special) if special in self._specials else None

    def _require(self, argument: str, special: str) -> int:
        id = self._special_id(special)
        if id is None:
            raise ValueError(
                f"{argument}: expected a vocabulary with {special}, got one with {self._specials}"
            )
        return id

    def _describe_unknown(self, text: str, place: int) -> str:
        if self._unit == "char":
            token, what = text[place], f"character U+{ord(text[place]):04X}"
        else:
            token, what = text[place:].split(maxsplit=1)[0], "word"
        return f"text: the {what} {token!r} at index {place} is not in the vocabulary, which has no {UNK}"


def _table_of_characters(ids: dict[str, int]) -> Array:
    """Ids by code point, up to the largest one; -1 for none."""
    points = np.array([ord(token) for token in ids], np.int64)
    table = np.full(int(points.max(initial=-1)) + 1, -1, np.int32)
    table[points] = list(ids.values())
    return table
