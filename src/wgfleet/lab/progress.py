"""Output for a person: while the lab works, rich's bars on a terminal and plain lines elsewhere; then its figures."""

import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

COLUMNS, LEAST_COLUMNS = 80, 20


@dataclass(frozen=True, slots=True)
class Stage:
    """A step that runs; call `advance` for each piece that is done, `tell` with a line that stays."""

    advance: Callable[[], None]
    tell: Callable[[str], None]


class Progress:
    """Names each step while it runs and says how long it took."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False, emoji=False)

    @contextmanager
    def step(self, text: str, total: int | None = None) -> Iterator[Stage]:
        """Show a step; `total` counts what `advance` will be called for."""
        begun = time.monotonic()
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            with Bars(*columns, TimeElapsedColumn(), console=self._console, transient=True) as bars:
                task = bars.add_task(text, total=total)
                yield Stage(lambda: bars.advance(task), self._tell)
        else:
            yield Stage(lambda: None, self._tell)
        self._tell(f"{text}: {time.monotonic() - begun:.1f} s")

    def _tell(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False)


def readable(figures: dict[str, Any]) -> list[str]:
    """Put figures into lines of `COLUMNS`; those of each client and round are in the JSON only."""
    found = list(_named(figures))
    width = max((len(name) for name, _ in found), default=0)
    lines = []
    for name, text in found:
        first, *more = textwrap.wrap(text, max(COLUMNS - width - 1, LEAST_COLUMNS)) or [""]
        lines += [f"{name:>{width}} {first}", *(f"{'':>{width}} {each}" for each in more)]
    return lines


def _named(figures: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in figures.items():
        name = prefix + key
        if isinstance(value, dict):
            yield from _named(value, f"{name}.")
        elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
            yield name, f"{len(value)} (listed with --json)"
        elif isinstance(value, list):
            yield from ((name, str(each)) for each in value or ["none"])
        elif isinstance(value, bool):
            yield name, "yes" if value else "NO" if key == "ok" else "no"
        else:
            yield name, "-" if value is None else str(value)
