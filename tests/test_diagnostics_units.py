"""Units whose weights were set by hand are found; properties of text; pages and pictures of them."""

from __future__ import annotations

import html.parser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import refuses, require

from pyrnnfast.diagnostics import (
    PROPERTIES,
    Block,
    Reading,
    Unit,
    find_units,
    plot_gates,
    plot_gradients,
    plot_units,
    read,
    write_html,
)
from pyrnnfast.diagnostics.units import scores
from pyrnnfast.models import LanguageModel
from pyrnnfast.text import Vocabulary

LATCH, COUNTER = 2, 4
"""Units of `known_model`: inside of quotes, and the position in the line."""


def quoted_text(seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    words = ["ab", "Bad", "c", "«ab» a", "«c da b» b", "d\n", "cab\n"]
    return " ".join(rng.choice(words, 400)).replace("\n ", "\n")


def known_model() -> LanguageModel:
    """An LSTM of random weights but for two units, whose gates are far open or closed by the character.

    One sets c to 1 at «, to 0 at » and keeps it else; the other adds 0.01 to c and forgets it at a line end.
    """
    words = Vocabulary.from_text(quoted_text())
    size, hidden = len(words), 6
    model = LanguageModel(words, embedding=size, hidden=hidden, dtype="float64", rng=0)
    weights = model.state_dict()
    weights["embedding.weight"][:] = np.eye(size)
    # [gate, unit, character]: what a character adds to the sum of a gate; i f g o.
    sums = weights["recurrent.weight_ih_l0"].reshape(4, hidden, size)
    back = weights["recurrent.weight_hh_l0"].reshape(4, hidden, hidden)
    for name in ("bias_ih", "bias_hh"):
        weights[f"recurrent.{name}_l0"].reshape(4, hidden)[:, [LATCH, COUNTER]] = 0
    back[:, [LATCH, COUNTER]] = 0
    marks = [words["«"], words["»"]]
    sums[:, LATCH] = np.array([-40, 40, 0, 40])[:, None]
    sums[:, LATCH, marks] = [[40, -40], [-40, -40], [40, 0], [40, 40]]
    sums[:, COUNTER] = np.array([40, 40, np.arctanh(0.01), 40])[:, None]
    sums[:2, COUNTER, [words["\n"], words.bos_id]] = -40
    model.load_state_dict(weights)
    return model


def test_the_units_that_were_set_are_found() -> None:
    readings = read(known_model(), quoted_text(1))
    best = {each.property: each for each in reversed(find_units(readings))}
    quotes, lines = best["inside quotes"], best["position in line"]
    assert (quotes.unit, quotes.sign, quotes.measure) == (LATCH, 1, "AUC")
    assert quotes.score == quotes.held_out == 1
    assert (lines.source, lines.unit, lines.sign, lines.measure) == ("c", COUNTER, 1, "correlation")
    assert min(lines.score, lines.held_out) > 1 - 1e-9
    assert "inside brackets" not in best
    assert find_units(readings, unit=LATCH, count=1)[0].unit == LATCH
    lengths = find_units(readings, {"longer": lambda tokens: np.arange(len(tokens)) % 7 > 3}, count=2)
    assert [each.property for each in lengths] == ["longer"] * 2


def test_a_unit_that_is_low_and_several_texts() -> None:
    readings = [
        each._replace(h=-each.h, c=None) for each in read(known_model(), [quoted_text(k) for k in (1, 2)])
    ]
    best = find_units(readings, count=1)[0]
    assert (best.source, best.unit, best.sign, best.held_out) == ("h", LATCH, -1, 1)


def test_scores() -> None:
    rng = np.random.default_rng(0)
    values, marks = np.round(rng.normal(size=(60, 3)), 1), rng.random(60) < 0.3
    values[:, 2] = 5
    found = scores(values, marks)
    for unit in range(3):
        pairs = values[marks, unit][:, None] - values[~marks, unit]
        np.testing.assert_allclose(found[unit], np.sign(pairs).mean(), atol=1e-12)
    amounts = rng.normal(size=60)
    expected = [np.corrcoef(values[:, unit], amounts)[0, 1] for unit in range(2)]
    np.testing.assert_allclose(scores(values, amounts), [*expected, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("inside quotes", "00111001100000000000"),
        ("inside brackets", "00000000001111110000"),
        ("word start", "10100001000000000100"),
        ("upper case", "00000000000000000010"),
    ],
)
def test_properties(name: str, expected: str) -> None:
    found = PROPERTIES[name]('a "bc" «d»(e[f]\n\n)Gh')
    assert found.dtype == bool
    assert "".join(str(int(mark)) for mark in found) == expected


def test_properties_of_words_and_lines() -> None:
    np.testing.assert_array_equal(PROPERTIES["position in line"]("ab\nc\n\nd"), [1, 2, 0, 1, 0, 0, 1])
    words = ('"He ', "said ", 'so" ', "\n", "(x) ")
    np.testing.assert_array_equal(PROPERTIES["inside quotes"](words), [1, 1, 0, 0, 0])
    np.testing.assert_array_equal(PROPERTIES["word start"](words), [1, 1, 1, 0, 1])
    assert not any(function(()).size for function in PROPERTIES.values())


def test_what_has_no_units() -> None:
    reading = Reading(("a", "b", "c"), np.zeros((3, 2)), None, {})
    refuses(ValueError, lambda: find_units([reading]))
    refuses(TypeError, lambda: find_units(reading))
    refuses(ValueError, lambda: find_units([reading] * 2, count=0))
    refuses(ValueError, lambda: find_units([reading] * 2, unit=2))
    assert find_units([reading] * 2, {"never": lambda tokens: np.zeros(len(tokens), bool)}) == []


@pytest.mark.parametrize(
    ("error", "properties"),
    [
        (TypeError, [len]),
        (TypeError, {"own": 3}),
        (TypeError, {"own": lambda tokens: [1.0] * len(tokens)}),
        (TypeError, {"own": lambda tokens: np.array(list(tokens))}),
        (ValueError, {"own": lambda tokens: np.arange(2.0)}),
        (ValueError, {"own": lambda tokens: np.full(len(tokens), np.nan)}),
        (ValueError, {"other": len}),
    ],
    ids=["list", "number", "list of numbers", "strings", "short", "NaN", "other"],
)
def test_bad_properties(error: type[Exception], properties: Any, tmp_path: Path) -> None:
    require("matplotlib")
    reading = Reading(("a", "b", "c", "d"), np.zeros((4, 2)), None, {})
    unit = Unit("own", "h", 0, 1, "AUC", 1.0, 1.0)
    refuses(error, lambda: plot_units(tmp_path / "a.png", reading, [unit], properties=properties))
    if "other" not in properties:
        refuses(error, lambda: find_units([reading], properties))


# --- Pages


class Text(html.parser.HTMLParser):
    """Collects the text of <pre>, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags, self.inside = "", set(), False

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.add(tag)
        self.inside |= tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        self.inside &= tag != "pre"

    def handle_data(self, data: str) -> None:
        self.text += data * self.inside


def test_a_page_holds_the_text_whatever_it_is(tmp_path: Path) -> None:
    tokens = [*"<script>alert('&amp;')</script>\n\"", "\x00", "\x1b", "\x7f", "\r", "漢", "\u202e", "\ud800"]
    values = np.linspace(-1.5, 1.5, len(tokens))
    values[3] = np.nan
    write_html(tmp_path / "a.html", "<b>&", [Block("<i>", "</p>", [(tokens, values), ("ab", np.zeros(2))])])
    page = (tmp_path / "a.html").read_bytes().decode("utf-8")
    parsed = Text()
    parsed.feed(page)
    assert parsed.text == "<script>alert('&amp;')</script>↵\n\"␀␛␡␍漢\u202e?ab"
    assert parsed.tags == {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "pre", "span"}
    assert "//" not in page.replace("</", "")
    assert 'class="h12"' in page
    assert 'class="l12"' in page
    assert "<pre>ab</pre>" in page


def test_no_page_of_what_does_not_fit(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    page.write_text("mine")
    block = Block("", "", [("ab", np.zeros(3))])
    refuses(ValueError, lambda: write_html(page, "", [block]))
    refuses(TypeError, lambda: write_html(page, "", block))
    refuses(TypeError, lambda: write_html(3, "", []))
    refuses(TypeError, lambda: write_html("h", 3, []))
    for heading, note, texts in (
        (3, "", []),
        ("", None, []),
        ("", "", [("ab", [0, 0])]),
        ("", "", [([1, 2], np.zeros(2))]),
        ("", "", ["abc"]),
    ):
        bad = Block(heading, note, texts)
        refuses(TypeError, lambda bad=bad: write_html(page, "", [bad]))
    assert page.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


def test_pictures(tmp_path: Path) -> None:
    require("matplotlib")
    text = quoted_text(1) + "$漢\x07"
    [reading] = read(known_model(), text)
    bad = r"a$\frac$b"  # no formula
    plot_gates(tmp_path / "gates.png", reading, bad, start=len(text) - 60)
    own = {bad: PROPERTIES["inside quotes"]}
    plot_units(tmp_path / "units.png", reading, find_units([reading], own, count=1), bad, properties=own)
    plot_gradients(tmp_path / "gradients.png", {bad: np.geomspace(1e-9, 1, 50), "b": np.zeros(50)}, bad)
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="Elman"):
        plot_gates(tmp_path / "no.png", reading._replace(gates={}))
    refuses(ValueError, lambda: plot_gates(tmp_path / "no.png", reading, start=len(text)))
    refuses(ValueError, lambda: plot_units(tmp_path / "no.png", reading, []))
    refuses(ValueError, lambda: plot_gradients(tmp_path / "no.png", {"a": np.zeros((2, 2))}))
    assert not (tmp_path / "no.png").exists()
