"""Files that are read: texts, and tables of CSV, TSV and JSON lines; an error names the file and the line."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pyrnnfast import validation

Location = str | os.PathLike[str]
SUFFIXES = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".jsonl": None, ".ndjson": None, ".json": None}
"""The delimiter of each kind of table; None for JSON lines."""
LONGEST_CELL = 2**31 - 1


class Record(NamedTuple):
    """A row of a table."""

    place: str
    """Where it begins: file:line."""
    cells: dict[str, Any]
    """Its values by column; strings but for JSON."""


def read_text(location: Location) -> str:
    """Read a text file: UTF-8, a byte order mark skipped, CR LF and CR as LF.

    Raises OSError when it cannot be read, ValueError when it is empty or not UTF-8.
    """
    content = Path(location).read_bytes()
    if not content:
        raise ValueError(f"{location}: is empty; give a file with text")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{location}: is not UTF-8 text (byte 0x{content[error.start]:02x} at {error.start}); "
            f"convert it, for example: iconv -f LATIN1 -t UTF-8 {location} > converted.txt"
        ) from None
    if not text:
        raise ValueError(f"{location}: is empty but for a byte order mark; give a file with text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(location: Location) -> list[Record]:
    """Read a text file line by line, each with the one column "text"; raises as `read_text`."""
    lines = read_text(location).removesuffix("\n").split("\n")
    return [Record(f"{location}:{number}", {"text": line}) for number, line in enumerate(lines, 1)]


def read_table(location: Location, columns: Sequence[str]) -> list[Record]:
    """Read a table in UTF-8; its name ends in .csv, .tsv (or .tab) or .jsonl (or .ndjson, .json).

    columns: those that are wanted, by name; a table has other ones too. For CSV and TSV the first line names
    the columns, unless those wanted are numbers, 1 for the first: then there is no such line.
    CSV: RFC 4180, with quotes. TSV: a line is a row, quotes are characters. JSON lines: each an object.
    Empty lines are left out.
    Returns the rows, at least one, with the wanted columns. Raises OSError when the file cannot be read,
    ValueError that names file and line for a bad row, a column that is missing, and a file of another kind,
    TypeError when columns are no list of strings.
    """
    validation.listed("columns", columns, str, "a list of strings, names or numbers")
    suffix = Path(location).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{location}: must be a table whose name ends in {', '.join(SUFFIXES)}")
    text, delimiter = read_text(location), SUFFIXES[suffix]
    if delimiter is None:
        records = [_taken(record, columns) for record in _json_lines(location, text)]
    else:
        records = _delimited(location, _rows(location, text, delimiter), columns)
    if not records:
        raise ValueError(f"{location}: has no rows")
    return records


def _json_lines(location: Location, text: str) -> Iterator[Record]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = f"{location}:{number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{place}: is no JSON ({error})") from None
        if not isinstance(value, dict):
            raise ValueError(f"{place}: must be a JSON object, got {line[:40]!r}")
        yield Record(place, value)


def _taken(record: Record, columns: Sequence[str]) -> Record:
    for name in columns:
        if name not in record.cells:
            raise ValueError(f"{record.place}: has no {name!r}, only {', '.join(map(repr, record.cells))}")
    return Record(record.place, {name: record.cells[name] for name in columns})


def _rows(location: Location, text: str, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    """Give place and cells of each row that is not an empty line."""
    before = csv.field_size_limit(LONGEST_CELL)
    lines = io.StringIO(text)
    if delimiter == ",":
        reader = csv.reader(lines, strict=True)
    else:
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
    try:
        while True:
            place = f"{location}:{reader.line_num + 1}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise ValueError(f"{place}: is no row of a table ({error})") from None
            if cells:
                yield place, cells
    finally:
        csv.field_size_limit(before)


def _delimited(
    location: Location, rows: Iterator[tuple[str, list[str]]], columns: Sequence[str]
) -> list[Record]:
    numbered = all(name.isdecimal() for name in columns)
    indices = [int(name) - 1 for name in columns] if numbered else []
    width, records = 0, []
    for place, cells in rows:
        if not width:
            width = len(cells)
            if not numbered:
                indices = [_column(place, cells, name) for name in columns]
                continue
            if not all(0 <= index < width for index in indices):
                raise ValueError(f"{place}: has the columns 1 to {width}, not {', '.join(columns)}")
        if len(cells) != width:
            raise ValueError(f"{place}: must have {width} columns as the first line, got {len(cells)}")
        wanted = zip(columns, indices, strict=True)
        records.append(Record(place, {name: cells[index] for name, index in wanted}))
    return records


def _column(place: str, header: list[str], name: str) -> int:
    if header.count(name) != 1:
        times = "no column" if name not in header else "more than one column"
        raise ValueError(
            f"{place}: has {times} {name!r}, but {', '.join(map(repr, header))}; name another column, "
            "or give numbers where the first line names none"
        )
    return header.index(name)
