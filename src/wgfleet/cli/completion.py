"""Completion of names in a shell: asked of the panel, within a short time, and without a word where that cannot be."""

import os
from collections.abc import Callable, Iterable

import typer

from wgfleet.cli import connection
from wgfleet.cli.client import Client, part
from wgfleet.cli.output import short

MOST = 100  # names that a shell is offered

Complete = Callable[[typer.Context, str], list[str]]


def names(path: str, field: str = "name") -> Complete:
    """Return a callback that completes a field of the things of a list; `path` may have parameters of the command."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        def find(client: Client) -> Iterable[str]:
            given = {name: part(str(value)) for name, value in ctx.params.items() if value}
            return (str(each[field]) for each in client.glance(path.format_map(given)) if each.get(field))

        return _offered(find, incomplete)

    return complete


def short_ids(path: str) -> Complete:
    """Return a callback that completes the last characters of ids, as lists show them."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        del ctx
        return _offered(lambda client: (short(each["id"]) for each in client.glance(path)), incomplete)

    return complete


def peers(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete CONFIG/, CONFIG/NAME, or a name alone."""
    del ctx

    def find(client: Client) -> Iterable[str]:
        config, slash, name = incomplete.partition("/")
        if slash:
            return [f"{config}/{each}" for each in _peers(client, config, name)]
        configs = [str(each["name"]) for each in client.glance("/api/configs")]
        alone = _peers(client, configs[0], incomplete) if len(configs) == 1 else []
        return [*(f"{each}/" for each in configs), *alone]

    return _offered(find, incomplete)


def _peers(client: Client, config: str, begun: str) -> list[str]:
    found = client.glance(f"/api/configs/{part(config)}/peers", search=begun or None)
    return [str(each["name"]) for each in found]


def _offered(find: Callable[[Client], Iterable[str]], incomplete: str) -> list[str]:
    """Return what a panel has that begins so; nothing where it cannot be asked, whatever the reason."""
    try:
        client = Client(connection.load(os.environ))
        try:
            found = sorted({each for each in find(client) if each.startswith(incomplete)})
        finally:
            client.close()
    except Exception:  # noqa: BLE001 - a shell that completes must not be written to
        return []
    return [each for each in found if each.isprintable()][:MOST]
