"""`wgfleet certificate`: what the panel's CA has issued, revoking it, and replacing the CA."""

import time
from datetime import datetime
from typing import Annotated

import typer

from wgfleet.cli import references
from wgfleet.cli.arguments import Certificate, OnlyNode, SomeCertificate
from wgfleet.cli.certificate_authority import rotate_ca
from wgfleet.cli.client import Client, Document, panel, part
from wgfleet.cli.confirmation import Yes, go_on
from wgfleet.cli.fields import show_fields
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, Cell, age_cell, ahead, say, short, show_json, text
from wgfleet.cli.tree import commands

app = commands()
app.command()(rotate_ca)
COLUMNS = ("id", "kind", "node", "in_use", "expires_in", "issued")
REVOCATION = ("id", "kind", "node", "in_use", "revoked", "revoked_by", "expires_in", "issued")
WIDE = ("panel_start", "whole_id", "serial", "expires_at")
UNDER_WAY = "under_way"
TOLD_WITHIN_S = 5.0  # agents that are connected hear of it within one


@app.command("list")
@listed(*COLUMNS, wide=("revoked", "revoked_by", *WIDE))
def list_certificates(
    client: Client,
    *,
    kind: Annotated[str | None, typer.Option(help="agent, panel, or client (written to files).")] = None,
    node: OnlyNode = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are revoked or have expired.")] = False,
) -> ListResult:
    """List the certificates that are accepted, in the order of issue."""
    found = client.all("/api/certificates", kind=kind, node=node, valid=None if everything else True)
    return ListResult(found, [_row(each) for each in found], columns=REVOCATION if everything else None)


def _row(found: Document) -> Document:
    ends = found["expires_at"]
    return {
        **found,
        "id": short(found["id"]),
        "whole_id": found["id"],
        "node": found["node_name"],
        "expires_in": Cell(ahead(ends), datetime.fromisoformat(ends).timestamp()),
        "issued": age_cell(found["issued_at"]),
        "revoked": age_cell(found["revoked_at"]),
    }


@app.command()
def show(certificate: Certificate, *, as_json: AsJson = False) -> None:
    """Show a certificate, and what revoking it would end."""
    with panel() as client:
        show_fields(client.get(f"/api/certificates/{part(_id(client, certificate))}"), as_json=as_json)


@app.command()
def web(
    *,
    retry: Annotated[bool, typer.Option("--retry", help="Ask the CA again now, after a failure.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the certificate that browsers accept, from a public CA."""
    with panel() as client:
        path = "/api/web-certificate"
        found = client.call("POST", f"{path}/retry") if retry else client.get(path)
        if found["directory"] is None and not as_json:
            say("there is none: the setting `acme.directory` is not set, so the panel's own CA issues for all names")
            return
        show_fields(found, as_json=as_json)


@app.command()
def revoke(
    certificate: SomeCertificate = None,
    *,
    earlier_starts: Annotated[
        bool, typer.Option("--earlier-starts", help="All with which earlier starts of the panel called agents.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Have a certificate refused from now on, for good; says first what that ends."""
    if (certificate is None) is not earlier_starts:
        raise typer.BadParameter("give one certificate, or --earlier-starts")
    with panel() as client:
        if certificate is None:
            _revoke_earlier(client, yes=yes, as_json=as_json)
            return
        path = f"/api/certificates/{part(_id(client, certificate))}"
        found = client.get(path)
        if found["revoking_ends"] is not None and not yes:
            say(f"This ends: {found['revoking_ends']}.", err=True)
            go_on(f"Revoke {_named(found)}?")
        answer = _all_told(client, path, client.call("DELETE", path))
        if as_json:
            show_json(answer)
            return
        say(f"{_named(answer)} is refused since {text(answer['revoked_at'])}")
        _warn(answer)


def _id(client: Client, reference: str) -> str:
    return references.identifier(client, "/api/certificates", reference, ("kind", "node_name"), name="serial")


def _revoke_earlier(client: Client, *, yes: bool, as_json: bool) -> None:
    found = [each for each in client.all("/api/certificates", kind="panel", valid=True) if not each["in_use"]]
    if found and not yes:
        typer.echo("This ends nothing, unless another panel runs on a copy of this database.", err=True)
        go_on(f"Revoke {len(found)} certificates of earlier starts of the panel?")
    answers = [client.call("DELETE", f"/api/certificates/{part(each['id'])}") for each in found]
    if answers:  # agents hear of all at once
        answers[-1] = _all_told(client, f"/api/certificates/{part(answers[-1]['id'])}", answers[-1])
    if as_json:
        show_json(answers)
        return
    one = len(answers) == 1
    typer.echo(f"{len(answers)} {'certificate is' if one else 'certificates are'} refused from now on")
    for answer in answers[-1:]:
        _warn(answer)


def _warn(answer: Document) -> None:
    for each in answer["accepted_by"]:
        say(f"warning: node {each['node']} still accepts it: {each['reason']}", err=True)


def _named(found: Document) -> str:
    whose = f" of node {found['node_name']}" if found["node_name"] else ""
    return f"the {found['kind']} certificate {short(found['id'])}{whose}"


def _all_told(client: Client, path: str, answer: Document) -> Document:
    """Wait a moment for the agents that are being told."""
    deadline = time.monotonic() + TOLD_WITHIN_S
    while any(each["telling"] == UNDER_WAY for each in answer["accepted_by"]) and time.monotonic() < deadline:
        time.sleep(0.25)
        answer = client.get(path)
    return answer
