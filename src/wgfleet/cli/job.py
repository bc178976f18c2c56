"""`wgfleet job`: limits of peers, given to one peer, to a tag or to a config."""

from datetime import datetime
from typing import Annotated, Any

import typer

from wgfleet.cli import references
from wgfleet.cli.asking import DryRun, ask
from wgfleet.cli.client import USAGE, CallFailed, Client, Document, given, panel, part
from wgfleet.cli.confirmation import Yes
from wgfleet.cli.deleting import deleted
from wgfleet.cli.fields import show_fields
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, duration, size, text
from wgfleet.cli.tree import commands
from wgfleet.protocol.digits import ascii_digits
from wgfleet.protocol.quantities import bytes_of, is_time, seconds_of, size_text
from wgfleet.protocol.quotes import quoted

app = commands()

ForPeer = Annotated[str | None, typer.Option("--peer", help="Of this peer: CONFIG/NAME, or its id.")]
ForTag = Annotated[str | None, typer.Option("--tag", help="Of the peers with this tag.")]
ForConfig = Annotated[str | None, typer.Option("--config", help="Of the peers of this config.")]
COLUMNS = ("field", "when", "action", "period", "id")
TOTALS = {"total_receive", "total_sent", "total_data"}
SAID_BY_WHEN = {"operator", "value", "windows"}
WORDS = {"lgt": "above", "lst": "below", "eq": "exactly", "neq": "not"}


@app.command("list")
@listed(*COLUMNS, wide=("time_zone", "notice_s"))
def list_jobs(client: Client, *, peer: ForPeer = None, tag: ForTag = None, config: ForConfig = None) -> ListResult:
    """List the jobs of a peer, a tag or a config; `peer limits` shows what counts for a peer, from all of them."""
    found = client.get(_path(client, peer, tag, config))["items"]
    return ListResult(found, [{**each, "when": when(each)} for each in found])


@app.command()
def create(
    field: Annotated[str, typer.Argument(help="total_receive, total_sent, total_data, date, schedule or endpoints.")],
    value: Annotated[
        str | None,
        typer.Argument(help="50GiB; 2026-12-31 or 2026-12-31T18:00, or 30d after the first use; devices at once."),
    ] = None,
    *,
    peer: ForPeer = None,
    tag: ForTag = None,
    config: ForConfig = None,
    action: Annotated[str, typer.Option(help="restrict, delete, reset_total_data_usage, warn or none.")] = "restrict",
    operator: Annotated[str, typer.Option(help="lgt (larger), lst (less), eq or neq.")] = "lgt",
    period: Annotated[str | None, typer.Option(help="Begin to count again each day, week or month.")] = None,
    from_first_use: Annotated[
        bool, typer.Option("--from-first-use", help="Periods begin with the peer's first use, not with the calendar.")
    ] = False,
    time_zone: Annotated[str, typer.Option(help="Whose days and hours count, such as Europe/Berlin.")] = "UTC",
    window: Annotated[
        list[str] | None, typer.Option("--window", help="When it is let in: 'mon-fri 08:00-18:00'; repeatable.")
    ] = None,
    notice: Annotated[str | None, typer.Option(help="How long before its date the audit log says so, as 3d.")] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Give a peer, a tag or a config a job; say first who is cut off by it at once."""
    body: Document = {"field": field, "action": action, "operator": operator, "from_first_use": from_first_use}
    body |= given(period=period, windows=window, value=value_of(field, value))
    body |= {"time_zone": time_zone, "notice_s": _seconds(notice, "--notice") if notice else 0}
    with panel() as client:
        path = _path(client, peer, tag, config)
        ask(client, path, body, yes=yes, dry_run=dry_run)
        made = client.call("POST", path, body)
        show_fields(made if as_json else _worded(made), as_json=as_json)


@app.command()
def delete(
    job: Annotated[str, typer.Argument(help="Id of the job, or its last characters as listed.")],
    *,
    peer: ForPeer = None,
    tag: ForTag = None,
    config: ForConfig = None,
    as_json: AsJson = False,
) -> None:
    """Delete a job; peers that it keeps out are let in again within seconds."""
    with panel() as client:
        path = _path(client, peer, tag, config)
        found = references.identifier(client, path, job, ("field", "action"))
        client.call("DELETE", f"{path}/{part(found)}")
    deleted("the job was deleted", "job", None, found, as_json=as_json)


def _worded(job: Document) -> Document:
    """Return a job with what it waits for in words."""
    return {"when": when(job)} | {name: value for name, value in job.items() if name not in SAID_BY_WHEN}


def when(job: Document) -> str:
    """Say when a job does something."""
    if job["action"] == "none":
        return "never"
    if job["field"] in TOTALS:
        return f"{WORDS[job['operator']]} {_amount(job['value'])}"
    if job["field"] == "endpoints":
        return f"more than {job['value']} at once"
    if job["field"] == "schedule":
        return f"outside of {', '.join(job['windows'])}"
    if isinstance(job["value"], str):
        return f"{'before' if job['operator'] == 'lst' else 'from'} {text(job['value'])}"
    return "each period" if job["value"] is None else f"{duration(job['value'])} after the first use"


def _amount(count: int) -> str:
    """Return a number of bytes as it was given, where it is a round one in some unit."""
    exact = size_text(count)
    return size(count) if exact.endswith(" B") else exact


def _path(client: Client, peer: str | None, tag: str | None, config: str | None) -> str:
    chosen = given(peer=peer, tag=tag, config=config)
    if len(chosen) != 1:
        raise CallFailed("say whose jobs: one of --peer, --tag and --config", USAGE)
    if peer is not None:
        return f"/api/peers/{references.peer(client, peer)}/jobs"
    return f"/api/tags/{part(tag)}/jobs" if tag is not None else f"/api/configs/{part(config or '')}/jobs"


def value_of(field: str, text: str | None) -> Any:
    """Return a value as the API has it: bytes, a moment, or s after the first use."""
    if text is None:
        return None
    text = ascii_digits(text)
    if field == "schedule":
        raise CallFailed("VALUE: a schedule has none; say when peers are let in with --window", USAGE)
    if field == "endpoints":
        if not (text.isascii() and text.isdigit()):
            raise CallFailed(f"VALUE: {quoted(text)} is no number of devices", USAGE)
        return int(text)
    try:
        return bytes_of(text) if field in TOTALS else _moment(text) if field == "date" else text
    except ValueError as error:
        raise CallFailed(f"VALUE: {error}", USAGE) from None


def _moment(text: str) -> int | str:
    if is_time(text):
        return seconds_of(text)
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{quoted(text)} is no moment; give one as 2026-12-31 or 2026-12-31T18:00, or 30d after the first use"
        ) from None
    return text


def _seconds(text: str, option: str) -> int:
    try:
        return seconds_of(text)
    except ValueError as error:
        raise CallFailed(f"{option}: {error}", USAGE) from None
