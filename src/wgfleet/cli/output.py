"""Output of the commands: tables and fields for people, JSON for programs, files for their owner only."""

import errno
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from wgfleet.cli.plain_text import obeyed, plain

WIDE = 250  # columns where neither a terminal nor COLUMNS sets them: a pipe must not lose text
FILE_MODE = 0o600
KIBI, TENS = 1024, 9.95
SHORT = 8  # characters of an id in tables
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")  # as the API writes times; a person needs whole seconds

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file, readable by you only.")]


_SCREEN: ContextVar[Console | None] = ContextVar("screen", default=None)  # what is printed now is drawn on it later


@contextmanager
def drawn_for(screen: Console | None) -> Iterator[None]:
    """Have what is printed in here as wide as a screen, and with its colors."""
    before = _SCREEN.set(screen)
    try:
        yield
    finally:
        _SCREEN.reset(before)


def console(*, err: bool = False) -> Console:
    """Return where to print: text as it is, since addresses and names have what rich takes for emoji and markup."""
    screen = _SCREEN.get()
    if screen is not None:
        return Console(
            stderr=err, highlight=False, markup=False, emoji=False, width=screen.width,
            force_terminal=True,
        )  # fmt: skip
    found = Console(stderr=err, highlight=False, markup=False, emoji=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = WIDE
    return found


def show_json(document: Any) -> None:
    """Print a document as JSON."""
    typer.echo(_BEYOND_ASCII.sub(lambda found: _escaped(found[0]), json.dumps(document, indent=2, ensure_ascii=False)))


PROSE = ("summary", "reason", "error", "details")  # sentences; as the last column of a table
BENEATH = "details"  # of rows that nothing names: a sentence stands right below its row
LEAST_PROSE = 24  # characters a line, or it goes below the table
GAP = 2  # characters between two cells
ONE_LINE = 20  # characters of a cell that are never divided, such as a time
MANY = 200  # rows of which not each is laid out by itself
FEW_ODD = 10  # of that many rows one may take more than a line
_BEYOND_ASCII = re.compile(r"[^ -~\n]")
LONGEST_WORD = 50  # longer than a key, or an address; a longer name is divided, or a line had room for nothing else


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of a row that people read in other words than those it is sorted by."""

    words: str
    order: float

    def __str__(self) -> str:
        return self.words


def age_cell(moment: str | None) -> Cell | None:
    """Return how long ago a time of the API was, the newest first."""
    return None if moment is None else Cell(age(moment), -datetime.fromisoformat(moment).timestamp())


def size_cell(count: int | None) -> Cell | None:
    """Return a number of bytes, the largest first."""
    return None if count is None else Cell(size(count), -count)


def order(value: Any) -> tuple[int, float, str]:
    """Return what a value is sorted by: what is there first, large numbers and `yes` first, text by its letters."""
    if isinstance(value, Cell):
        return 0, value.order, ""
    if isinstance(value, (bool, int, float)):
        return 0, -value, ""
    shown = text(value)
    return (1, 0, "") if shown == "-" else (0, 0, shown.casefold())


def show_table(rows: Sequence[dict[str, Any]], columns: Sequence[str], *, whole: bool = False) -> None:
    """Print a list; `columns` are the fields that people see, the most important first.

    Sentences that would be squeezed stand below. No word is cut: columns at the end that have no room are left out, and
    named, unless the `whole` is wanted.
    """
    screen = console()
    if len(rows) > MANY:  # each is needed several times
        rows = [{**row, **{column: text(row.get(column)) for column in columns if row.get(column)}} for row in rows]
    prose = columns[-1] if columns[-1] in PROSE and not whole else None
    cells = [column for column in columns if column != prose]
    least = [_narrowest(rows, column) for column in cells]
    fitting = sum(each - GAP <= screen.width for each in accumulate(width + GAP for width in least))
    shown = cells if whole else cells[: max(1, fitting)]
    if prose and shown == cells and sum(_wanted(rows, each) + GAP for each in cells) + LEAST_PROSE <= screen.width:
        shown, prose = list(columns), None
    needed = sum(_narrowest(rows, each) + GAP for each in shown) - GAP
    screen.width = max(screen.width, needed)  # `whole` may go beyond it
    if prose == BENEATH:
        _print_beneath(screen, rows, shown, prose)
    elif len(rows) > MANY:
        _print_many(screen, rows, shown)
    else:
        screen.print(_table(rows, shown, screen.width))
    if prose is not None and prose != BENEATH:
        for row in rows:
            if row.get(prose):
                screen.print(f"{text(row.get(columns[0]))}: {text(row[prose])}")
    if len(shown) < len(cells):
        left_out = ", ".join(_title(each).lower() for each in cells[len(shown) :])
        say(f"no room for: {left_out} (--wide shows them)", err=True)


def _title(column: str) -> str:
    return column.replace("_", " ").upper()


def _least(rows: Sequence[dict[str, Any]], column: str) -> int:
    """Return how wide a column must be, so that no word of it is broken but one that nobody has to copy as it is."""
    values = [text(row.get(column)) for row in rows]
    pieces = [piece for value in values for piece in ([value] if cell_len(value) <= ONE_LINE else value.split(" "))]
    widths = map(cell_len, [*_title(column).split(" "), *pieces])
    return max(width if width <= LONGEST_WORD else ONE_LINE for width in widths)


def _narrowest(rows: Sequence[dict[str, Any]], column: str) -> int:
    return LEAST_PROSE if column in PROSE else _least(rows, column)


def _wanted(rows: Sequence[dict[str, Any]], column: str) -> int:
    """Return how wide a column is with each value on one line."""
    return max(map(cell_len, [_title(column), *(line for row in rows for line in text(row.get(column)).split("\n"))]))


def _print_beneath(screen: Console, rows: Sequence[dict[str, Any]], columns: Sequence[str], prose: str) -> None:
    """Print a table with a sentence right below each row."""
    widths = _widths(rows, columns, screen.width)
    screen.print(_table([], columns, screen.width, widths))
    for row in rows:
        screen.print(_table([row], columns, screen.width, widths, header=False))
        if text(row.get(prose)) != "-":
            screen.print(Padding(text(row[prose]), (0, 0, 0, 2 * GAP)))


def _print_many(screen: Console, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Print the same table as `_table`, in a seventh of its time where nearly all cells are of one line."""
    widths = _widths(rows, columns, screen.width)
    lines = [_one_line([text(row.get(column)) for column in columns], list(widths.values())) for row in rows]
    if lines.count(None) * FEW_ODD > len(lines):
        screen.print(_table(rows, columns, screen.width, widths))
        return
    screen.print(_table([], columns, screen.width, widths))
    for is_odd, some in groupby(zip(rows, lines, strict=True), key=lambda each: each[1] is None):
        if is_odd:
            screen.print(_table([row for row, _ in some], columns, screen.width, widths, header=False))
        else:
            screen.file.writelines(f"{line}\n" for _, line in some)


def _one_line(cells: Sequence[str], widths: Sequence[int]) -> str | None:
    """Return the line of a row; None where one does not do."""
    room = [width - cell_len(cell) for cell, width in zip(cells, widths, strict=True)]
    if min(room) < 0 or any("\n" in cell for cell in cells):
        return None
    gap = " " * GAP
    return gap.join(f"{cell}{' ' * left}" for cell, left in zip(cells, room, strict=True))


def _widths(rows: Sequence[dict[str, Any]], columns: Sequence[str], width: int) -> dict[str, int]:
    """Return the widths of columns: what their words need, and of the room that is left what they want."""
    least = {column: _narrowest(rows, column) for column in columns}
    room = max(0, width - sum(each + GAP for each in least.values()) + GAP)
    for column in columns:
        more = min(room, max(0, _wanted(rows, column) - least[column]))
        room -= more
        least[column] += more
    return least


def _table(
    rows: Sequence[dict[str, Any]],
    columns: Sequence[str],
    width: int,
    widths: dict[str, int] | None = None,
    *,
    header: bool = True,
) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0), show_header=header)
    widths = widths or _widths(rows, columns, width)
    for column in columns:
        table.add_column(_title(column), overflow="fold", width=widths[column])
    for row in rows:
        table.add_row(*(text(row.get(column)) for column in columns))
    return table


def short(identifier: str) -> str:
    """Return the end of an id, which tells things of one hour apart; ids begin with the time."""
    return identifier[-SHORT:]


def age(moment: str | None) -> str:
    """Return how long ago a time of the API was, in its largest unit: 45s, 3m, 5h, 12d; - for None."""
    if moment is None:
        return "-"
    return duration((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())


def ahead(moment: str | None) -> str:
    """Return how far in the future a time of the API is, as `age`."""
    if moment is None:
        return "-"
    return duration((datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds())


def duration(seconds: float) -> str:
    """Return a time in its largest unit: 45s, 3m, 5h, 12d."""
    for unit_s, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit_s:
            return f"{int(seconds // unit_s)}{unit}"
    return f"{int(max(0.0, seconds))}s"


def size(count: int | None) -> str:
    """Return a number of bytes in the unit that fits (1.2 GiB, of 1024 MiB); - for None."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < KIBI:
            return f"{value:.0f} {unit}" if value >= TENS or unit == "B" else f"{value:.1f} {unit}"
        value /= KIBI
    return f"{value:.1f} TiB"


def say(words: str, *, err: bool = False) -> None:
    """Print a sentence that may have words of the panel, and so of users and agents."""
    typer.echo(plain(words), err=err)


def say_in_lines(words: str, *, err: bool = False) -> None:
    """Print a sentence, of which no word is cut, in lines that the screen has room for; none that is to be copied."""
    screen = console(err=err)
    if screen.width >= WIDE:  # programs take a sentence by its line
        say(words, err=err)
        return
    for paragraph in plain(words).split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and cell_len(longer) > screen.width:
                typer.echo(line, err=err)
                longer = word
            line = longer
        typer.echo(line, err=err)


def _escaped(character: str) -> str:
    """Return what a terminal would obey as JSON's escape of it, which programs read as the character that it is."""
    return json.dumps(character)[1:-1] if character != "\n" and obeyed(character) else character


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


def write_secret_file(content: bytes | Iterable[bytes], output: Path) -> None:
    """Write content with keys to a file that only its owner can read, whole or not at all; `-` is standard output."""
    parts = (content,) if isinstance(content, bytes) else content
    if str(output) == "-":
        for part in parts:
            typer.echo(part, nl=False)
        return
    # A pipe or a device is written to as it is, and so is what somebody redirected: /dev/stdout.
    is_file = (output.is_file() or not output.exists()) and not str(output).startswith(
        ("/dev/std", "/dev/fd/", "/proc/")
    )
    target = _resolved(output) if is_file else output
    beside = target.with_name(f".{target.name}.{os.getpid()}") if is_file else output
    try:
        _write_private(parts, beside)
        if is_file:
            beside.replace(target)
    except BaseException as error:  # also where somebody has had enough of waiting
        if is_file:
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(output)) from None
        raise
    typer.echo(f"written to {output}", err=True)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError:  # what pathlib makes of links in a circle
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from None


def _write_private(parts: Iterable[bytes], path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, FILE_MODE)
        file.writelines(parts)
