"""Output of the commands: tables and fields for people, JSON for programs, files for their owner only."""

import json
import os
import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

WIDE = 250  # columns where neither a terminal nor COLUMNS sets them: a pipe must not lose text
FILE_MODE = 0o600
KILO, TENS = 1000, 9.95
# Beside lines and tabs, what names are written with and that moves nothing: the joiners of Persian and of emoji, and
# marks of direction.
SHOWN = frozenset(
    "\n\t\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
    "\N{LEFT-TO-RIGHT MARK}\N{RIGHT-TO-LEFT MARK}\N{ARABIC LETTER MARK}"
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")  # as the API writes times; a person needs whole seconds

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file, readable by you only.")]


def console(*, err: bool = False) -> Console:
    """Return where to print: text as it is, since addresses and names have what rich takes for emoji and markup."""
    found = Console(stderr=err, highlight=False, markup=False, emoji=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = WIDE
    return found


def show_json(document: Any) -> None:
    """Print a document as JSON."""
    typer.echo("".join(map(_escaped, json.dumps(document, indent=2, ensure_ascii=False))))


PROSE = ("summary", "reason", "error")  # sentences; as the last column of a table
LEAST_PROSE = 24  # characters a line, or it goes below the table


def show_table(rows: Sequence[dict[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print a list; `columns` are the fields that people see."""
    if as_json:
        show_json(rows)
        return
    screen = console()
    table, prose = _table(rows, columns), columns[-1]
    if prose in PROSE and screen.measure(_table(rows, columns[:-1])).maximum + LEAST_PROSE > screen.width:
        screen.print(_table(rows, columns[:-1]))
        for row in rows:
            if row.get(prose):
                screen.print(f"{text(row.get(columns[0]))}: {text(row[prose])}")
        return
    screen.print(table)


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        whole = column == columns[0] == "id"  # what the next command is given, copied
        table.add_column(column.replace("_", " ").upper(), overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*(text(row.get(column)) for column in columns))
    return table


def age(moment: str | None) -> str:
    """Return how long ago a time of the API was, in its largest unit: 45s, 3m, 5h, 12d; - for None."""
    if moment is None:
        return "-"
    passed = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    for seconds, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if passed >= seconds:
            return f"{int(passed // seconds)}{unit}"
    return f"{int(passed)}s"


def size(count: int | None) -> str:
    """Return a number of bytes in the unit that fits (1.2 GB, of 1000 MB); - for None."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < KILO:
            return f"{value:.0f} {unit}" if value >= TENS or unit == "B" else f"{value:.1f} {unit}"
        value /= KILO
    return f"{value:.1f} TB"


def show_fields(document: dict[str, Any], *, as_json: bool) -> None:
    """Print one thing, a field a line."""
    if as_json:
        show_json(document)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in document.items():
        table.add_row(name.replace("_", " "), text(value))
    console().print(table)


def say(words: str, *, err: bool = False) -> None:
    """Print a sentence that may have words of the panel, and so of users and agents."""
    typer.echo(plain(words), err=err)


def plain(shown: str) -> str:
    """Replace what a terminal would obey rather than show: agents, and users, choose parts of what is printed."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _obeyed(character) else character for character in shown)


def _obeyed(character: str) -> bool:
    return character not in SHOWN and unicodedata.category(character) in {"Cc", "Cf"}


def _escaped(character: str) -> str:
    """Return what a terminal would obey as JSON's escape of it, which programs read as the character that it is."""
    return json.dumps(character)[1:-1] if character != "\n" and _obeyed(character) else character


def text(value: Any) -> str:
    """Return a value of a document as the text of a cell."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(text(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {text(item)}" for name, item in value.items() if item is not None)
    if isinstance(value, str) and TIME.fullmatch(value):
        return value[:10] + " " + value[11:19] + "Z"
    return plain(str(value))


def write_secret(content: str, output: Path | None) -> None:
    """Print a text that contains keys, or write it to a file that only its owner can read."""
    if output is None:
        typer.echo(content, nl=False)
    else:
        write_secret_file(content.encode(), output)


def create_secret_file(content: str, output: Path) -> None:
    """Write a text with keys to a new file that only its owner can read; it follows no link, and replaces nothing."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, FILE_MODE)
        file.write(content)


def write_secret_file(content: bytes, output: Path) -> None:
    """Write content with keys to a file that only its owner can read."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, FILE_MODE)
        file.write(content)
    typer.echo(f"written to {output}", err=True)
