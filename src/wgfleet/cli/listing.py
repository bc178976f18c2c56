"""Lists: what all of them can do, `--sort`, `--filter`, `--wide`, `--watch` and `--json`, in one place for all."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from wgfleet.cli import watching
from wgfleet.cli.client import USAGE, CallFailed, Client, Document, panel
from wgfleet.cli.output import AsJson, order, say, show_json, show_table, text, write_secret_file
from wgfleet.cli.watching import Watch
from wgfleet.protocol.quotes import quoted

_STANDARD_OUTPUT = Path("-")


@dataclass(frozen=True)
class ListResult:
    """What a list has to show. `documents`: those of the API; `rows`: what people see of each, or as the documents."""

    documents: Sequence[Document]
    rows: Sequence[Document] | None = None
    columns: tuple[str, ...] | None = None
    """Other columns than those that the list was declared with, which has them as `wide`."""
    warnings: Sequence[str] = field(default=())
    """What to know besides, a line each; on standard error, and not with `--json`."""
    table: tuple[Iterable[bytes], Path | None] | None = None
    """Lines of CSV in place of all else, and the file that they go to; None: standard output."""


def listed(*columns: str, wide: tuple[str, ...] = ()) -> Callable[[Callable[..., ListResult]], Callable[..., None]]:
    """Make a command of a function that takes a client (and options of its own) and returns a `ListResult`.

    `wide`: columns that are shown with `--wide` only.
    """
    words = ", ".join(name.replace("_", "-") for name in (*columns, *wide))

    def begun(incomplete: str) -> list[str]:
        return [each for each in words.split(", ") if each.startswith(incomplete)]

    sort = Annotated[
        str | None,
        typer.Option(
            help=f"Sort by a column, newest and largest first: {words}.", show_default=False, autocompletion=begun
        ),
    ]
    match = Annotated[
        list[str] | None,
        typer.Option("--filter", help="Only rows with this text in them, or COLUMN=TEXT; repeatable.", metavar="TEXT"),
    ]
    whole = Annotated[bool, typer.Option("--wide", help="All columns, whatever the width, and whole ids.")]
    more: dict[str, tuple[Any, Any]] = {
        "sort": (sort, None),
        "match": (match, None),
        "wide": (whole, False),
        "watch": (Watch, False),
        "as_json": (AsJson, False),
    }

    def decorate(find: Callable[..., ListResult]) -> Callable[..., None]:
        @functools.wraps(find)
        def command(
            *given: Any,
            sort: str | None = None,
            match: list[str] | None = None,
            wide: bool = False,
            watch: bool = False,
            as_json: bool = False,
            **own: Any,
        ) -> None:
            def show(client: Client) -> None:
                asked = _asked(own, filters)
                found = find(client, *given, **own)
                _show(found, shape, sort, match or (), asked, wide=wide, as_json=as_json)

            with panel() as client:
                watching.draw(lambda: show(client), watch=watch)

        shape, filters = (columns, wide), _filters(find)
        _declare(command, find, more)
        return command

    return decorate


def _declare(command: Callable[..., None], find: Callable[..., ListResult], more: dict[str, tuple[Any, Any]]) -> None:
    """Give a command the parameters of a function but its client, and more options: what Typer reads."""
    own = list(inspect.signature(find).parameters.values())[1:]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in more.items()
    ]
    del command.__wrapped__  # type: ignore[attr-defined]  # set by `wraps`, and followed by `inspect.signature`
    command.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]  # as `inspect` documents
    command.__annotations__ = {each.name: each.annotation for each in (*own, *options)}


def _filters(find: Callable[..., ListResult]) -> dict[str, str]:
    """Return the options of a list that are a choice among what there is, by parameter: those without a default."""
    return {
        each.name: _flag(each)
        for each in list(inspect.signature(find).parameters.values())[1:]
        if each.kind is inspect.Parameter.KEYWORD_ONLY and each.default in {None, False}
    }


def _flag(parameter: inspect.Parameter) -> str:
    declared = [
        word
        for about in getattr(parameter.annotation, "__metadata__", ())
        for word in (getattr(about, "default", None), *(getattr(about, "param_decls", None) or ()))
        if isinstance(word, str) and word.startswith("--")  # the first stands where a default would
    ]
    return declared[0] if declared else f"--{parameter.name.replace('_', '-')}"


def _asked(given: Mapping[str, Any], filters: Mapping[str, str]) -> list[str]:
    """Return what was chosen, as options; refuse one that is empty, which chooses nothing."""
    asked = []
    for name, flag in filters.items():
        value = given.get(name)
        if value is None or value is False:
            continue
        if isinstance(value, str) and not value.strip():
            raise CallFailed(f"{flag} is empty; leave it out for all, or say which", USAGE)
        asked.append(flag if value is True else f"{flag} {value}")
    return asked


def _show(
    found: ListResult,
    shape: tuple[tuple[str, ...], tuple[str, ...]],
    sort: str | None,
    match: Sequence[str],
    asked: Sequence[str],
    *,
    wide: bool,
    as_json: bool,
) -> None:
    if found.table is not None:
        if sort is not None or match or wide or as_json:
            raise CallFailed("--csv has all columns and rows as they come: leave out --sort and the like", USAGE)
        lines, output = found.table
        write_secret_file(lines, output or _STANDARD_OUTPUT)
        return
    columns, extra = shape
    columns = found.columns or columns
    rows = list(zip(found.documents, found.documents if found.rows is None else found.rows, strict=True))
    for each in match:
        rows = [pair for pair in rows if _matches(pair[1], each, (*columns, *extra))]
    if sort is not None:
        column = _column(sort, "--sort", (*columns, *extra))
        rows.sort(key=lambda pair: order(pair[1].get(column)))
    if as_json:
        show_json([document for document, _ in rows])
        return
    if rows:
        show_table([row for _, row in rows], (*columns, *extra) if wide else columns, whole=wide)
    else:
        none = f"there are none for {' '.join(asked)}" if asked else "there are none"
        say("none of them fits" if found.documents else none, err=True)
    for warning in found.warnings:
        say(f"warning: {warning}", err=True)


def _column(word: str, option: str, columns: Sequence[str]) -> str:
    """Return the column that a person means."""
    meant = word.strip().casefold().replace("-", "_").replace(" ", "_")
    if meant not in columns:
        names = ", ".join(name.replace("_", "-") for name in columns)
        raise CallFailed(f"{option}: there is no column {quoted(word)}; there are {names}", USAGE)
    return meant


def _matches(row: Document, wanted: str, columns: Sequence[str]) -> bool:
    name, equals, value = wanted.partition("=")
    if equals and name.strip():
        return value.casefold() in text(row.get(_column(name, "--filter", columns))).casefold()
    return any(wanted.casefold() in text(row.get(column)).casefold() for column in columns)
