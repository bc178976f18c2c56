"""`wgfleet peer share`, `shares` and `unshare`: links with which a user fetches the file of a peer."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from wgfleet.cli import references
from wgfleet.cli.arguments import Peer
from wgfleet.cli.client import USAGE, CallFailed, Client, Document, panel, part
from wgfleet.cli.confirmation import ask_secret
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, age_cell, say, short, show_json, text
from wgfleet.cli.streams import NO_BLOCKS, has_blocks
from wgfleet.protocol.quantities import seconds_of
from wgfleet.qr_code import qr_code

DAY_S = 86400
LEAST_S, LONGEST_S = 60, 90 * DAY_S  # as the panel has them
COLUMNS = ("id", "state", "one_time", "password", "uses", "opened", "expires_at", "created_by")


def share(
    peer: Peer,
    *,
    lasts: Annotated[str, typer.Option(help="For how long it works: 30m, 12h, 7d; 90d at most.")] = "7d",
    many_times: Annotated[bool, typer.Option("--many-times", help="It works until it expires, not once.")] = False,
    password: Annotated[
        bool, typer.Option("--password", help="Ask for a password that the user must know too, or read it from stdin.")
    ] = False,
    qr: Annotated[bool, typer.Option("--qr", help="Show it as a QR code too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a link with which the user fetches file and code, without a sign-in; printed once.

    Who has the link, and its password if it has one, has the file. The secret stands behind #, so that no server and no
    log on the way has it.
    """
    with panel(sends_secret=True) as client:
        try:
            lasts_s = seconds_of(lasts)
        except ValueError as error:
            raise CallFailed(f"--lasts: {error}", USAGE) from None
        if not LEAST_S <= lasts_s <= LONGEST_S:
            raise CallFailed(f"--lasts: a link lasts 1 minute to {LONGEST_S // DAY_S} days, not {lasts}", USAGE)
        body: Document = {"one_time": not many_times, "lasts_s": lasts_s}
        if password:
            body["password"] = ask_secret("Password of the link", new=True)
        made = client.call("POST", f"/api/peers/{references.peer(client, peer)}/share-links", body)
    if as_json:
        show_json(made)
        return
    say(f"{'once' if made['one_time'] else 'as often as wanted'}, until {text(made['expires_at'])}:", err=True)
    say(made["link"])
    if qr and not has_blocks():
        say(f"warning: {NO_BLOCKS}", err=True)
    elif qr:
        qr_code(made["link"]).terminal(compact=True)


@listed(*COLUMNS, wide=("whole_id", "created_at"))
def shares(client: Client, peer: Peer) -> ListResult:
    """List the links to a peer's file, and whether somebody opened them."""
    found = client.get(f"/api/peers/{references.peer(client, peer)}/share-links")["items"]
    rows = [
        {
            **each,
            "id": short(each["id"]),
            "state": _state(each),
            "whole_id": each["id"],
            "opened": age_cell(each["opened_at"]),
            "password": each["has_password"],
        }
        for each in found
    ]
    return ListResult(found, rows)


def _state(link: Document) -> str:
    if link["one_time"] and link["uses"]:
        return "used"
    return "expired" if datetime.fromisoformat(link["expires_at"]) <= datetime.now(UTC) else "works"


def unshare(
    peer: Peer, link: Annotated[str, typer.Argument(help="Id of the link, or its last characters as listed.")]
) -> None:
    """Withdraw a link. A file that was fetched stays good: `peer update --rotate-keys` ends that too."""
    with panel() as client:
        path = f"/api/peers/{references.peer(client, peer)}/share-links"
        found = references.identifier(client, path, link, ("created_by", "expires_at"))
        client.call("DELETE", f"{path}/{part(found)}")
