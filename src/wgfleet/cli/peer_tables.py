"""`wgfleet peer to-csv` and `from-csv`: peers as a table for spreadsheets, and peers made and changed by one."""

from pathlib import Path
from typing import Annotated

import typer

from wgfleet.cli.arguments import Config, OnlyNode
from wgfleet.cli.asking import DryRun
from wgfleet.cli.client import FAILED, Document, panel, part
from wgfleet.cli.confirmation import Yes, go_on
from wgfleet.cli.given_files import file_bytes
from wgfleet.cli.output import AsJson, Output, say, show_json, write_secret
from wgfleet.cli.waiting import follow, show_operation

SHOWN = 20
EXISTING = "refuse, skip or update: what becomes of lines of peers that there are, by id or else by name."


def to_csv(
    config: Config,
    *,
    search: Annotated[str | None, typer.Option(help="Part of the name; or a whole key, or address.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
    node: OnlyNode = None,
    semicolons: Annotated[
        bool, typer.Option("--semicolons", help="Between cells, as spreadsheets of many countries expect.")
    ] = False,
    output: Output = None,
) -> None:
    """Print the peers of a config, or those that fit, as a table, or write it.

    It has no secret; `from-csv --existing update` reads it.
    """
    with panel() as client:
        separator = "semicolon" if semicolons else None
        path = f"/api/configs/{part(config)}/peers/csv"
        write_secret(client.text(path, separator=separator, search=search, tag=tag, node=node), output)


def from_csv(
    config: Config,
    file: Annotated[
        Path, typer.Argument(help="CSV file, with a line of columns; `name` is enough. - for standard input.")
    ],
    *,
    existing: Annotated[str, typer.Option(help=EXISTING)] = "refuse",
    leave_out_wrong: Annotated[
        bool, typer.Option("--leave-out-wrong", help="Do what the other lines say where some are wrong.")
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the end of many changes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create the peers of a table, and change those that there are; say first what each line does.

    Where a line is wrong nothing is done. New peers are made all or none. More than 250 others are changed by an
    operation, also where the panel is restarted meanwhile; `operation cancel` leaves the rest as they are.
    """
    path = f"/api/configs/{part(config)}/peers/csv"
    with panel() as client:
        if not (data := file_bytes(file)).strip():
            raise typer.BadParameter(
                "is empty: give a line of columns, such as name, and one a peer", param_hint="FILE"
            )
        found = client.send_table(f"{path}/preview", data, existing=existing)
        if as_json and dry_run:
            show_json(found)
        else:
            _show(found)
        stopped = found["wrong"] and not leave_out_wrong
        if stopped or dry_run or not found["created"] + found["changed"]:
            say("nothing was done", err=True)
            raise typer.Exit(FAILED if stopped else 0)
        if not yes:
            go_on()
        done = client.send_table(path, data, existing=existing, leave_out_wrong=leave_out_wrong or None)
        operation = done["operation"]
        if not as_json:
            changed = f"{done['changed']} {'to be changed' if operation else 'changed'}"
            say(f"{done['created']} peers created, {changed}, {done['wrong']} lines left out")
        if operation and not as_json:
            show_operation(client, operation, wait=not no_wait, as_json=False)
        elif operation and not no_wait:
            done["operation"] = follow(client, operation["id"])
    if as_json:
        show_json(done)


def _show(found: Document) -> None:
    summary = f"{found['created']} new, {found['changed']} changed, {found['same']} as they are, {found['wrong']} wrong"
    say(summary, err=True)
    for each in found["problems"][:SHOWN]:
        where = ", ".join(filter(None, [f"line {each['line']}" if each["line"] else "", each["column"]]))
        say(f"  {where + ': ' if where else ''}{each['detail']}", err=True)
    for each in found["changes"][:SHOWN]:
        say(f"  line {each['line']}: {each['name']} gets another {', '.join(each['columns'])}", err=True)
    left = max(found["wrong"] - SHOWN, 0) + max(found["changed"] - SHOWN, 0)
    if left:
        say(f"  and {left} more lines", err=True)
    for effect in found["effects"]:
        say(effect, err=True)
