"""`wgfleet import`: interfaces of other panels and scripts become configs, with the same keys and peers."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from wgfleet.cli.client import USAGE, CallFailed, given, panel
from wgfleet.cli.confirmation import Yes, go_on
from wgfleet.cli.output import AsJson, say, show_json, show_table
from wgfleet.cli.tree import single
from wgfleet.imports import sources
from wgfleet.imports.fleet import ImportedFleet, ImportedInterface, UnreadableError
from wgfleet.imports.sources import SOURCES
from wgfleet.protocol.quotes import quoted

app = single()
COLUMNS = ("name", "fate", "addresses", "carried_over", "remarks")


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help=f"One of {', '.join(SOURCES)}.")],
    path: Annotated[Path, typer.Argument(help="Its file, folder or database, on this machine.")],
    *,
    interface: Annotated[str | None, typer.Option(help="Which one, where the source has several.")] = None,
    config: Annotated[str | None, typer.Option(help="Name of the config; else that of the interface.")] = None,
    pool: Annotated[
        list[str] | None, typer.Option("--pool", help="Another range of a new config than the source's; repeatable.")
    ] = None,
    listen_port: Annotated[int | None, typer.Option(help="Another port of a new config than the source's.")] = None,
    environment: Annotated[
        Path | None, typer.Option("--env", help="wg-easy up to 14: the container's variables, or its compose file.")
    ] = None,
    files: Annotated[
        Path | None, typer.Option("--files", help="wgdashboard: the folder with its interfaces' files.")
    ] = None,
    commented_out: Annotated[
        bool, typer.Option("--commented-out", help="wg-quick: peers that are commented out too, as disabled ones.")
    ] = False,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import a WireGuard server of another program: its users keep their files. Nothing there is changed or run.

    Repeated, it changes nothing: peers are known by their keys.
    """
    with panel(sends_secret=True) as client:
        fleet = read(source, path, environment, files, commented_out=commented_out)
        chosen = choose(fleet, interface)
        body = {
            "interface": msgspec.to_builtins(chosen),
            "tags": msgspec.to_builtins(fleet.tags),
            **given(config=config, pools=pool, listen_port=listen_port),
        }
        for warning in fleet.warnings:
            say(f"warning: {warning}", err=True)
        found = client.call("POST", "/api/imports/preview", body)
        if not as_json:
            _show(found)
        if not dry_run:
            if not yes and any(peer["fate"] == "new" for peer in found["peers"]):
                go_on()
            found = client.call("POST", "/api/imports", body)
    if as_json:
        show_json(found)
    elif dry_run:
        say("nothing was changed", err=True)
    else:
        count = _count(found, "new")
        say(f"{count} {'peer was' if count == 1 else 'peers were'} imported into {found['config']}", err=True)


def read(
    source: str, path: Path, environment: Path | None, files: Path | None, *, commented_out: bool = False
) -> ImportedFleet:
    """Read a source, or end the command with words."""
    if source not in SOURCES:
        raise CallFailed(f"{quoted(source)} is none of {', '.join(SOURCES)}", USAGE)
    try:
        return sources.read(source, path, environment=environment, files=files, commented_out=commented_out)
    except UnreadableError as error:
        raise CallFailed(str(error)) from None


def choose(fleet: ImportedFleet, name: str | None) -> ImportedInterface:
    """Return the interface that is meant, or end the command."""
    names = [each.name for each in fleet.interfaces]
    if name is None and len(names) == 1:
        return fleet.interfaces[0]
    if name not in names:
        raise CallFailed(f"choose one with --interface: {', '.join(names)}", USAGE)
    return fleet.interfaces[names.index(name)]


def _show(found: dict[str, Any]) -> None:
    what = "a new config" if found["created"] else "a config that is here already"
    new, same = _count(found, "new"), _count(found, "same")
    already = "is" if same == 1 else "are"
    say(f"{found['config']}: {what}; {new} new peer{'s' * (new != 1)}, {same} that {already} here already")
    for remark in found["remarks"]:
        say(f"note: {remark}", err=True)
    rows = [peer for peer in found["peers"] if peer["fate"] != "same"]
    if rows:
        show_table(
            [{**row, **{name: "; ".join(row[name]) for name in ("carried_over", "remarks")}} for row in rows], COLUMNS
        )


def _count(found: dict[str, Any], fate: str) -> int:
    return sum(peer["fate"] == fate for peer in found["peers"])
