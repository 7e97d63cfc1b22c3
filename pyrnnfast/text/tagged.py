"""Sentences whose words have tags: `token:tag ... <=> intent` lines and columns as CoNLL's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pyrnnfast.text.examples import UNORDERED
from pyrnnfast.text.reading import Location, read_text

ARROW = " <=> "
INTENT = ("# intent:", "# intent =")


class Sentence(NamedTuple):
    """Words, a tag for each, and what the whole sentence wants."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    """BIO: "B-x" begins a slot x, "I-x" goes on with it, "O" is outside of any."""
    intent: str | None = None
    place: str = ""
    """Where it comes from: file:line."""

    def __str__(self) -> str:
        """Write it as a line."""
        pairs = " ".join(f"{word}:{tag}" for word, tag in zip(self.words, self.tags, strict=True))
        return pairs if self.intent is None else f"{pairs}{ARROW}{self.intent}"


def read_sentences(location: Location) -> list[Sentence]:
    """Read sentences in UTF-8; blank lines are left out, or end a sentence.

    A file whose first line that is not blank has " <=> " holds a sentence a line: `token:tag ... <=> intent`,
    between spaces; the last colon of each part counts. Any other holds a word a line with columns between
    tabs (or white space, where a line has no tab): the first one is the word, the last one the tag. There a
    line `# intent: x` is of the sentence that follows, and `-DOCSTART-` lines are left out.
    An I- that begins a slot is read as B-.
    Returns the sentences, at least one. Raises OSError when the file cannot be read, ValueError that names
    file and line for a line of another kind, unequal columns, an empty word, and a tag that is none.
    """
    lines = [(f"{location}:{number}", line) for number, line in enumerate(read_text(location).split("\n"), 1)]
    found = list(_sentences(lines) if has_arrow(line for _, line in lines) else _columns(lines))
    if not found:
        raise ValueError(f"{location}: has no sentences")
    return found


def has_arrow(lines: Iterable[str]) -> bool:
    """Whether the first line that is not blank has " <=> "."""
    return ARROW in next((line for line in lines if line.strip()), "")


def _sentences(lines: list[tuple[str, str]]) -> Iterator[Sentence]:
    for place, line in lines:
        if not line.strip():
            continue
        tagged, arrow, intent = line.rpartition(ARROW)
        if not arrow or not intent.strip():
            raise ValueError(f"{place}: must end in <=> and an intent, got {line[-40:]!r}")
        words, tags = [], []
        for part in tagged.split(" "):
            word, _, tag = part.rpartition(":")
            if word:
                words.append(word)
                tags.append(tag)
            elif part:
                raise ValueError(f"{place}: each word must be token:tag, got {part!r}")
        yield checked_sentence(place, words, tags, intent.strip())


def _columns(lines: list[tuple[str, str]]) -> Iterator[Sentence]:
    width, intent, start = 0, None, ""
    words: list[str] = []
    tags: list[str] = []
    for place, line in [*lines, ("", "")]:
        if not line.strip():
            if words:
                yield checked_sentence(start, words, tags, intent)
            words, tags, intent = [], [], None
        elif line.startswith(INTENT) and not words:
            intent = line[len(INTENT[0]) :].strip(" =") or None
        elif not line.startswith("-DOCSTART-"):
            cells = line.split("\t") if "\t" in line else line.split()
            width = width or len(cells)
            if len(cells) != width or width < 2:
                expected = f"{width} columns as the first line" if width > 1 else "at least 2 columns"
                raise ValueError(f"{place}: must have {expected}, got {len(cells)}")
            if not cells[0].strip():
                raise ValueError(f"{place}: must have a word in the first column, got {cells[0]!r}")
            _parts(place, cells[-1])
            start = place if not words else start
            words.append(cells[0])
            tags.append(cells[-1])


def checked_sentence(place: str, words: Any, tags: Any, intent: Any = None) -> Sentence:
    """Return a sentence of at least one word, a BIO tag for each; place is what an error begins with.

    Raises TypeError and ValueError for another one.
    """
    for name, values in (("words", words), ("tags", tags)):
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise TypeError(f"{place}: the {name} must be a list, got {type(values).__name__}")
        for value in values:
            if not isinstance(value, str):
                raise TypeError(f"{place}: the {name} must be strings, got {type(value).__name__}")
    if not any(word.strip() for word in words) or len(words) != len(tags):
        raise ValueError(f"{place}: must have words and as many tags, got {len(words)} and {len(tags)}")
    if intent is not None and not isinstance(intent, str):
        raise TypeError(f"{place}: the intent must be a string or None, got {type(intent).__name__}")
    before, bio = "O", []
    for tag in tags:
        kind, slot = _parts(place, tag)
        begins = kind == "I" and before not in (f"B-{slot}", f"I-{slot}")
        bio.append(f"B-{slot}" if begins else tag)
        before = bio[-1]
    return Sentence(tuple(words), tuple(bio), intent, place)


def _parts(place: str, tag: str) -> tuple[str, str]:
    """Return the letter and the slot of a tag; raise ValueError when it is none."""
    kind, dash, slot = tag.partition("-")
    if tag != "O" and not (kind in ("B", "I") and dash and slot):
        raise ValueError(f"{place}: a tag must be O, B-... or I-..., got {tag!r}")
    return kind, slot


def given_sentences(name: str, sentences: Any) -> list[Sentence]:
    """Return sentences of what a caller hands in: (words, tags) or (words, tags, intent) each.

    Raises TypeError and ValueError as `checked_sentence`.
    """
    if isinstance(sentences, (str, *UNORDERED)) or not isinstance(sentences, Iterable):
        raise TypeError(f"{name} must be a list, got {type(sentences).__name__}")
    found = []
    for i, each in enumerate(sentences):
        if not isinstance(each, (tuple, list)) or not 2 <= len(each) <= 4:
            raise TypeError(f"{name}[{i}] must be (words, tags) or (words, tags, intent), got {each!r:.60}")
        place = each.place if isinstance(each, Sentence) and each.place else f"{name}[{i}]"
        found.append(checked_sentence(place, *each[:3]))
    return found
