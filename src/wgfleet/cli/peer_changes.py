"""`wgfleet peer change` and `peer move`: a peer, or all that fit, by one command, after a look at whom that is."""

from typing import Annotated, NamedTuple

import typer

from wgfleet.cli import completion, job, references, speeds
from wgfleet.cli.arguments import OnlyNode
from wgfleet.cli.asking import DryRun
from wgfleet.cli.client import USAGE, CallFailed, Client, Document, given, panel, part, parted
from wgfleet.cli.confirmation import Yes, go_on
from wgfleet.cli.output import AsJson, say
from wgfleet.cli.speeds import Download, Upload
from wgfleet.cli.waiting import show_operation

ACTIONS = ("enable", "disable", "delete", "add_tag", "remove_tag", "set_job", "set_group", "set_speeds", "set_nodes")
SHOWN = 10  # names, before it asks


Chosen = Annotated[
    str,
    typer.Argument(
        help="Id or name of the config; or CONFIG/NAME, one peer of it.",
        autocompletion=completion.names("/api/configs"),
    ),
]
All = Annotated[bool, typer.Option("--all-that-match", help="All peers of the config, or all that fit what follows.")]
Search = Annotated[str | None, typer.Option(help="Part of the name; or a whole key, or address.")]
Tag = Annotated[str | None, typer.Option(help="Only those with this tag.")]
Owned = Annotated[str | None, typer.Option("--owner", help="Only the devices of this user.")]
Enabled = Annotated[bool | None, typer.Option("--enabled/--disabled", help="Only those.")]
Live = Annotated[bool | None, typer.Option("--online/--offline", help="Only those.")]
Restricted = Annotated[
    bool | None, typer.Option("--restricted/--not-restricted", help="Only those that limits keep out, or not.")
]
NeedsNewFile = Annotated[
    bool | None,
    typer.Option(
        "--needs-new-file/--up-to-date", help="Only those whose file is out of date since it was taken, or not."
    ),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the end.")]


def change(
    config: Chosen,
    action: Annotated[str, typer.Argument(help=f"One of {', '.join(ACTIONS)}.")],
    what: Annotated[
        list[str] | None, typer.Argument(help="The tag or group; or field and value of the job: total_data 50GB.")
    ] = None,
    *,
    all_that_match: All = False,
    search: Search = None,
    tag: Tag = None,
    node: OnlyNode = None,
    owner: Owned = None,
    enabled: Enabled = None,
    live: Live = None,
    restricted: Restricted = None,
    needs_new_file: NeedsNewFile = None,
    job_action: Annotated[
        str, typer.Option("--job-action", help="set_job: restrict, delete, reset_total_data_usage or none.")
    ] = "restrict",
    job_period: Annotated[str | None, typer.Option("--job-period", help="set_job: day, week or month.")] = None,
    download: Download = None,
    upload: Upload = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Change a peer, or all that fit; say first who they are, and who notices.

    set_group takes a node group, or nothing for none, and counts from the next rebalance on; set_speeds takes
    --download and --upload; set_nodes takes nodes and node groups of an independent config, or nothing for all. Each is
    changed once, also where the panel is restarted meanwhile; `operation show` has how far it is.
    """
    wanted = given(search=search, tag=tag, node=node, owner=owner, enabled=enabled, live=live, restricted=restricted)
    wanted |= given(needs_new_file=needs_new_file)
    with panel() as client:
        body: Document = {"filter": wanted, "action": action, **_with(action, what or [], job_action, job_period)}
        body |= speeds.body(download, upload)
        show = _Shown(yes=yes, dry_run=dry_run, wait=not no_wait, as_json=as_json)
        _carry_out(client, config, body, show, chosen=all_that_match or bool(wanted))


def move(
    config: Chosen,
    *,
    to: Annotated[str, typer.Option("--to", help="Node that becomes their home; or node group, whose nodes do.")],
    all_that_match: All = False,
    search: Search = None,
    tag: Tag = None,
    node: OnlyNode = None,
    owner: Owned = None,
    enabled: Enabled = None,
    live: Live = None,
    restricted: Restricted = None,
    needs_new_file: NeedsNewFile = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Give a peer, or all that fit, a home on a node, or on those of a group; say first who they are, and who notices.

    Who is connected is called by the new node, as in a rebalance; who does not answer stays, and is not cut off.
    """
    wanted = given(search=search, tag=tag, node=node, owner=owner, enabled=enabled, live=live, restricted=restricted)
    wanted |= given(needs_new_file=needs_new_file)
    body: Document = {"filter": wanted, "action": "move", "to": to}
    show = _Shown(yes=yes, dry_run=dry_run, wait=not no_wait, as_json=as_json)
    with panel() as client:
        _carry_out(client, config, body, show, chosen=all_that_match or bool(wanted))


class _Shown(NamedTuple):
    """How a command goes on once it has said who would be changed."""

    yes: bool
    dry_run: bool
    wait: bool
    as_json: bool


def _carry_out(client: Client, reference: str, body: Document, show: _Shown, *, chosen: bool) -> None:
    config, slash, name = reference.partition("/")
    if slash:
        if body["filter"]:
            raise CallFailed(f"{reference} is one peer already: leave out what chooses among several", USAGE)
        body["filter"] = {"peers": [references.peer_of(client, config, name)["id"]]}
    elif not chosen:
        raise CallFailed(
            "which peers? One as CONFIG/NAME, those of a --tag and the like, or all that match: --all-that-match", USAGE
        )
    path = f"/api/configs/{part(config)}/peers/changes"
    found = client.call("POST", f"{path}/preview", body)
    _show(found, body["action"])
    if show.dry_run:
        say("nothing was changed", err=True)
        return
    if not show.yes:
        go_on()
    operation = client.call("POST", path, body | {"expect": found["who"]})
    show_operation(client, operation, wait=show.wait, as_json=show.as_json)


def _with(action: str, what: list[str], job_action: str, job_period: str | None) -> Document:
    if action in {"add_tag", "remove_tag"} and len(what) == 1:
        return {"tag": what[0]}
    if action == "set_job" and what:
        value = job.value_of(what[0], what[1]) if len(what) > 1 else None
        return {"job": {"field": what[0], "action": job_action, **given(value=value, period=job_period)}}
    if action == "set_group" and len(what) <= 1:
        return {"group": what[0] or None} if what else {}
    if action == "set_nodes":
        return {"nodes": parted(what) or None}
    if what or action in {"add_tag", "remove_tag", "set_job"}:
        raise CallFailed("give a tag with add_tag and remove_tag, a field and its value with set_job", USAGE)
    return {}


def _show(found: Document, action: str) -> None:
    names = found["names"][:SHOWN]
    more = f" and {found['peers'] - len(names)} more" if found["peers"] > len(names) else ""
    peers = f"{found['peers']} peer{'s' * (found['peers'] != 1)}"
    say(f"{action}: {peers}, {found['live']} of them connected now", err=True)
    if names:
        say(f"  {', '.join(names)}{more}", err=True)
    for effect in [*found.get("stay", ()), *found["effects"]]:
        say(effect, err=True)
