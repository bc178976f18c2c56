"""Ends of `delete` commands: a sentence for people, and for programs which things are gone."""

from collections.abc import Sequence

from wgfleet.cli.output import say, show_json

Gone = tuple[str | None, str | None]
"""The name of a thing, and its id, as far as the command knows them."""


def deleted(
    words: str, kind: str, name: str | None, identifier: str | None = None, *, as_json: bool, err: bool = False
) -> None:
    """Say that one thing of a kind was deleted."""
    if as_json:
        show_deleted(kind, [(name, identifier)])
    else:
        say(words, err=err)


def show_deleted(kind: str, gone: Sequence[Gone], warnings: Sequence[str] = ()) -> None:
    """Print as JSON what was deleted, and what to know besides."""
    things = [{"kind": kind, "name": name, "id": identifier} for name, identifier in gone]
    show_json({"deleted": things, "warnings": list(warnings)})
