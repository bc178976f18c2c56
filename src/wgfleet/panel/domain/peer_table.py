"""Tables of peers, as spreadsheets write and read them: CSV in, values out, and the other way. Pure.

An empty cell says nothing: a new peer gets what it would get anyway, a setting is left to tags and config. `none` is an
empty list where that is a setting, and no destination rules.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wgfleet.panel.errors import Invalid
from wgfleet.protocol.digits import ascii_digits
from wgfleet.protocol.quantities import speed_of
from wgfleet.protocol.reasons import Reason

MOST_ROWS = 10_000
NONE = "none"
SEPARATORS = {"comma": ",", "semicolon": ";"}
BYTE_ORDER_MARK = (
    "\N{ZERO WIDTH NO-BREAK SPACE}"  # without it some spreadsheets take other letters than ASCII for others
)
_DIVIDED = re.compile(r'[",;|\t\r\n]')
# What spreadsheets take for the beginning of a formula; some do with the wide forms too.
_FORMULA = re.compile(r"'*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
_PIECE = 64 * 1024
_LIST = re.compile(r"[,;\s]+")
_TAGS = re.compile(r"[,;\n]")
_BOOLEANS = {"yes": True, "true": True, "1": True, "on": True, "no": False, "false": False, "0": False, "off": False}

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table: in which line of the file it begins, and its cells by their columns.

    `too_long`: it has more cells than there are columns, so nobody knows which is of which.
    """

    line: int
    cells: Mapping[str, str]
    too_long: bool = False


@dataclass(frozen=True, slots=True)
class WrongCell:
    """What cannot be read, or done: in which line, and of which column, "" where it is none."""

    line: int
    column: str
    detail: str


def plain(value: object) -> object:
    """Return a value that no spreadsheet takes for a formula: texts in a table are others' words."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def line(values: Iterable[object], separator: str = ",") -> str:
    """Return a row of a table for spreadsheets, which may divide it elsewhere: a cell with any divider is quoted."""
    cells = ["" if value is None else str(plain(value)) for value in values]
    quoted = ('"' + cell.replace('"', '""') + '"' if _DIVIDED.search(cell) else cell for cell in cells)
    return separator.join(quoted) + "\r\n"


def _as_it_was(cell: str) -> str:
    """Return the text of which `plain` has made a cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _text(cell: str) -> str | None:
    return cell.strip() or None


def _lines(cell: str) -> str:
    return cell.replace("\r\n", "\n").strip()


def _list(cell: str) -> list[str]:
    return [] if cell.strip() == NONE else [part for part in _LIST.split(cell) if part]


def _setting(cell: str) -> list[str] | None:
    return _list(cell) if cell.strip() else None


def _tag_names(cell: str) -> list[str]:
    parts = cell.split("/") if "/" in cell else _TAGS.split(cell)
    return [] if cell.strip() == NONE else [part.strip() for part in parts if part.strip()]


def _number(cell: str) -> int | None:
    text = ascii_digits(cell).strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):  # noqa: PLR2004 - digits of what fits anywhere
        raise ValueError(Reason("must be a whole number"))
    return int(text)


def _speed(cell: str) -> int | None:
    return speed_of(cell) if cell.strip() else None


def _rule_set(cell: str) -> str | None:
    return "" if cell.strip() == NONE else _text(cell)


def _boolean(cell: str) -> bool | None:
    text = cell.strip().lower()
    if text and text not in _BOOLEANS:
        raise ValueError(Reason("must be yes or no"))
    return _BOOLEANS.get(text)


_READ: dict[str, Callable[[str], Any]] = {
    "name": _text,
    "addresses": _list,
    "networks": _list,
    "group": _text,
    "nodes": _setting,
    "owner": _text,
    "tags": _tag_names,
    "enabled": _boolean,
    "notes": _lines,
    "client_allowed_ips": _setting,
    "excluded_networks": _setting,
    "dns": _setting,
    "mtu": _number,
    "keepalive": _number,
    "endpoint_port": _number,
    "download_speed": _speed,
    "upload_speed": _speed,
    "rule_set": _rule_set,
    "public_key": _text,
    "preshared_key": _boolean,
    "id": _text,
}
COLUMNS = tuple(_READ)


def read(data: bytes) -> list[TableRow]:
    """Return the rows of a file; raise `Invalid` for one that is no table of peers."""
    text = _decoded(data)
    separator, head = _separator(text)
    reader = csv.reader(io.StringIO(text[head:], newline=""), delimiter=separator, strict=True)
    skipped = text[:head].count("\n")
    rows: list[TableRow] = []
    try:
        columns = _columns(next(reader, []))
        last = reader.line_num
        for cells in reader:
            line, last = last + 1 + skipped, reader.line_num
            if any(cell.strip() for cell in cells):
                rows.append(_row(columns, cells, line))
            if len(rows) > MOST_ROWS:
                raise Invalid(
                    Reason("has more than {most_rows} peers; send it in parts", most_rows=MOST_ROWS), field="table"
                )
    except csv.Error as error:
        raise Invalid(
            Reason("line {line} is no CSV ({error})", line=reader.line_num + skipped, error=error), field="table"
        ) from None
    if not rows:
        raise Invalid(Reason("has no line with a peer below that of the columns"), field="table")
    return rows


def _decoded(data: bytes) -> str:
    encoding = "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise Invalid(Reason("is not in UTF-8; save it as `CSV UTF-8`"), field="table") from None
    if "\0" in text:
        raise Invalid(Reason("is no text"), field="table")
    return text


def _separator(text: str) -> tuple[str, int]:
    """Return what stands between cells, and where the table begins: some programs write `sep=;` before it."""
    said = re.match(r"sep=([,;\t])\r?\n", text)
    if said:
        return said[1], said.end()
    first = text.partition("\n")[0]
    return max(",;\t", key=first.count), 0


def _columns(cells: Sequence[str]) -> list[str]:
    names = [re.sub(r"[\s-]+", "_", cell.strip().lower()) for cell in cells]
    while names and not names[-1]:
        names.pop()
    for name in names:
        if name not in _READ:
            raise Invalid(
                Reason("has no column {name!r}; there are {columns}", name=name, columns=", ".join(COLUMNS)),
                field="table",
            )
        if names.count(name) > 1:
            raise Invalid(Reason("has the column {name!r} twice", name=name), field="table")
    if "name" not in names:
        raise Invalid(Reason("must begin with a line of columns, `name` among them"), field="table")
    return names


def _row(columns: Sequence[str], cells: Sequence[str], line: int) -> TableRow:
    named = dict(zip(columns, [*map(_as_it_was, cells), *[""] * len(columns)], strict=False))
    return TableRow(line, named, too_long=any(cell.strip() for cell in cells[len(columns) :]))


def values(row: TableRow) -> tuple[Values, list[WrongCell]]:
    """Return what a row says, by column, and which of its cells say nothing that can be read."""
    if row.too_long:
        return {}, [
            WrongCell(row.line, "", Reason("has more cells than there are columns; put texts with commas in quotes"))
        ]
    found: Values = {}
    wrong = []
    for name, cell in row.cells.items():
        try:
            found[name] = _READ[name](cell)
        except ValueError as error:
            wrong.append(WrongCell(row.line, name, str(error)))
    return found, wrong


def write(rows: Iterator[Values], separator: str) -> Iterator[str]:
    """Return the text of a table, piece by piece: its columns, and a row for each peer."""
    out = io.StringIO()
    out.write(BYTE_ORDER_MARK)
    out.write(line(COLUMNS, separator))
    for each in rows:
        out.write(line([_cell(name, each.get(name)) for name in COLUMNS], separator))
        if out.tell() > _PIECE:
            yield out.getvalue()
            out.seek(0)
            out.truncate()
    yield out.getvalue()


def _cell(name: str, value: Any) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "tags":
        return _tags_cell(value or [])
    if name == "rule_set" and value == "":
        return NONE
    if isinstance(value, list):
        of_setting = name in {"client_allowed_ips", "excluded_networks", "dns"}
        return ", ".join(value) or (NONE if of_setting else "")
    return "" if value is None else value


def _tags_cell(names: Sequence[str]) -> str:
    text = ", ".join(names)
    if _tag_names(text) == list(names):
        return text
    return "/".join([*names, ""])  # no name of a tag has a slash
