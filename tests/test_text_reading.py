"""Tables and labelled examples: what is read, and that each error names the file and the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyrnnfast.text import Examples, Labels, read_examples, read_lines, read_table
from pyrnnfast.text.examples import given_examples


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def pairs(examples: Examples) -> list[tuple[str, tuple[Any, ...]]]:
    return list(zip(examples.texts, examples.labels, strict=True))


def test_csv_has_quotes_and_names_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", '\ufefflabel,more,text\nx,1,"a, ""b""\nc"\n\ny,2,d\n')
    found = read_examples(path)
    assert pairs(found) == [('a, "b"\nc', ("x",)), ("d", ("y",))]
    assert found.places == [f"{path}:2", f"{path}:5"]


def test_tsv_takes_quotes_as_characters(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", 'text\tlabel\n"a\t x \nb"\ty')
    assert pairs(read_examples(path)) == [('"a', ("x",)), ('b"', ("y",))]


def test_json_lines_have_labels_of_any_kind(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"text": "語", "label": 1}\n\n{"label": true, "text": "b", "z": []}\n')
    assert pairs(read_examples(path)) == [("語", (1,)), ("b", (True,))]
    path = write(tmp_path, "b.json", '{"t": "a", "l": ["x", 2]}\n{"t": "b", "l": []}\n')
    assert pairs(read_examples(path, "t", "l", several=True)) == [("a", ("x", 2)), ("b", ())]


def test_columns_by_number_need_no_header(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "x,a b\ny,c\n")
    assert pairs(read_examples(path, "2", "1")) == [("a b", ("x",)), ("c", ("y",))]
    assert read_table(path, ["1"])[1].cells == {"1": "y"}


def test_several_labels_of_a_cell(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "text,label\na,x| y\nb,\n")
    assert pairs(read_examples(path, several=True)) == [("a", ("x", "y")), ("b", ())]


def test_only_empty_lines_are_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'text\na\n\n \n""\nb\n')
    rows = [(place, cells["text"]) for place, cells in read_table(path, ["text"])]
    assert rows == [(f"{path}:2", "a"), (f"{path}:4", " "), (f"{path}:5", ""), (f"{path}:6", "b")]


def test_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "one\r\ntwo\n")
    assert [(place, cells["text"]) for place, cells in read_lines(path)] == [
        (f"{path}:1", "one"),
        (f"{path}:2", "two"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.txt", "text,label\n", "a.txt: must be a table whose name ends in .csv, .tsv"),
        ("a.csv", "", "a.csv: is empty"),
        ("a.csv", "text,label\n", "a.csv: has no rows"),
        ("a.csv", "words,label\na,b\n", "a.csv:1: has no column 'text', but 'words', 'label'"),
        ("a.csv", "text,text,label\na,b,c\n", "a.csv:1: has more than one column 'text'"),
        ("a.csv", "text,label\na,b\nc\n", "a.csv:3: must have 2 columns as the first line, got 1"),
        ("a.csv", 'text,label\n"a\nb",c\nd,e,f\n', "a.csv:4: must have 2 columns as the first line, got 3"),
        ("a.csv", 'text,label\n"a,b\n', "a.csv:2: is no row of a table (unexpected end of data)"),
        ("a.csv", 'text,label\n"a"b,c\n', "a.csv:2: is no row of a table"),
        ("a.csv", "text,label\n  ,b\n", "a.csv:2: the text must have more than white space, got '  '"),
        ("a.csv", "text,label\na,b\nc, \n", "a.csv:3: the label must not be empty"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text"', "a.jsonl:2: is no JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl:1: must be a JSON object, got '[1]'"),
        ("a.jsonl", '{"text": "a"}\n', "a.jsonl:1: has no 'label', only 'text'"),
        ("a.jsonl", '{"text": 1, "label": 1}\n', "a.jsonl:1: the text must be a string, got int"),
        ("a.jsonl", '{"text": "a", "label": null}\n', "a.jsonl:1: the label must be a string or a number"),
        ("a.jsonl", '{"text": "a", "label": NaN}\n', "a.jsonl:1: the label must be finite, got nan"),
        ("a.jsonl", '{"text": "a", "label": [1]}\n', "a.jsonl:1: the label must be a string or a number"),
    ],
)
def test_bad_rows_are_told_with_their_line(tmp_path: Path, name: str, text: str, told: str) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(ValueError, match=name) as info:
        read_examples(path)
    assert told in str(info.value)
    assert str(info.value).startswith(path)


def test_bad_columns_by_number_and_bad_lists(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "x,a\n")
    with pytest.raises(ValueError, match=r"a.csv:1: has the columns 1 to 2, not 3, 1"):
        read_examples(path, "3", "1")
    path = write(tmp_path, "a.jsonl", '{"text": "a", "label": 3}\n')
    with pytest.raises(ValueError, match=r"a.jsonl:1: the labels must be a list of labels, got int"):
        read_examples(path, several=True)
    (tmp_path / "b.csv").write_bytes(b"text,label\n\xff,1\n")
    with pytest.raises(ValueError, match=r"b.csv: is not UTF-8 text \(byte 0xff at 11\)"):
        read_examples(tmp_path / "b.csv")


def test_columns_are_strings(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "x,a\n")
    for bad in ([1, 2], "12", {"1", "2"}):
        with pytest.raises(TypeError, match=r"columns must be a list of strings, names or numbers, got "):
            read_table(path, bad)
    with pytest.raises(TypeError, match=r"columns must be .* got 1 in a list"):
        read_examples(path, 1, 2)


def test_a_very_long_cell(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", f"text,label\n{'a' * 200_000},x\n")
    assert len(read_examples(path).texts[0]) == 200_000


# --- Labels and splits


def test_labels_of_any_kind_have_numbers() -> None:
    labels = Labels.seen([2, "b", 1, True, "a", np.int64(2), 1.0, np.str_("b")])
    assert list(map(repr, labels.values)) == ["True", "1.0", "1", "2", "'a'", "'b'"]
    assert [labels.number("here", label) for label in (True, 1, np.int64(2), "b")] == [0, 2, 3, 5]
    with pytest.raises(
        ValueError, match=r"^f.csv:3: the label must be one of training \(True, .*\), got 'c'"
    ):
        labels.number("f.csv:3", "c")
    for bad in ([], ["a", "a"], "ab", 3, [None], [float("inf")], {"a", "b"}, {"a": 1}):
        with pytest.raises((TypeError, ValueError), match="must be"):
            Labels(bad)


def test_a_split_is_random_and_the_same_each_time() -> None:
    examples = given_examples("", [f"text {i}" for i in range(100)], list(range(100)), False)
    train, held_out = examples.split(0.1)
    assert (len(train), len(held_out)) == (90, 10)
    assert sorted(train.labels + held_out.labels) == examples.labels
    assert held_out.labels != examples.labels[-10:]
    assert held_out == examples.split(0.1)[1]
    assert examples.split(0)[0] == examples


@pytest.mark.parametrize(
    ("texts", "labels", "told"),
    [
        ("ab", ["x"], "texts must be a list, got str"),
        (["a"], "x", "labels must be a list, got str"),
        (["a"], ["x", "y"], "labels must be 1, one for each text, got 2"),
        (["a", ""], ["x", "y"], r"texts\[1\]: the text must have more than white space"),
        (["a", 3], ["x", "y"], r"texts\[1\]: the text must be a string, got int"),
        (["a"], [None], r"texts\[0\]: the label must be a string or a number, got NoneType"),
        ({"a", "b"}, ["x", "y"], "texts must be a list, got set"),
        (["a", "b"], {"x": 1, "y": 2}, "labels must be a list, got dict"),
    ],
)
def test_bad_examples(texts: Any, labels: Any, told: str) -> None:
    with pytest.raises((TypeError, ValueError), match=told):
        given_examples("", texts, labels, False)
