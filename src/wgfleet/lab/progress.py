"""Output for a person: while the lab works, rich's bars on a terminal and plain lines elsewhere; then its figures."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


@dataclass(frozen=True, slots=True)
class Stage:
    """A step that runs; call `advance` for each piece that is done."""

    advance: Callable[[], None]


class Progress:
    """Names each step while it runs and says how long it took."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)

    @contextmanager
    def step(self, text: str, total: int | None = None) -> Iterator[Stage]:
        """Show a step; `total` counts what `advance` will be called for."""
        begun = time.monotonic()
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            with Bars(*columns, TimeElapsedColumn(), console=self._console, transient=True) as bars:
                task = bars.add_task(text, total=total)
                yield Stage(lambda: bars.advance(task))
        else:
            yield Stage(lambda: None)
        self._console.print(f"{text}: {time.monotonic() - begun:.1f} s", soft_wrap=True)


def readable(figures: dict[str, Any], prefix: str = "") -> list[str]:
    """Put figures into lines; those of each client and round are in the JSON only."""
    lines = []
    for key, value in figures.items():
        if isinstance(value, dict):
            lines += readable(value, f"{prefix}{key}.")
        elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
            lines.append(f"{prefix + key:>28} {len(value)} (listed with --json)")
        elif isinstance(value, list):
            lines += [f"{prefix + key:>28} {each}" for each in value or ["none"]]
        elif isinstance(value, bool):
            no = "NO" if key == "ok" else "no"
            lines.append(f"{prefix + key:>28} {'yes' if value else no}")
        else:
            lines.append(f"{prefix + key:>28} {'-' if value is None else value}")
    return lines
