"""`wgfleet endpoint`: the public face of a config, and where its names are published.

`wgfleet config endpoint` and `endpoint-delete` are the same by their older names.
"""

import ipaddress
import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from wgfleet.cli.arguments import Config
from wgfleet.cli.asking import DryRun, ask
from wgfleet.cli.client import ABSENT, USAGE, CallFailed, Client, Document, given, items, panel, part
from wgfleet.cli.confirmation import Yes
from wgfleet.cli.deleting import deleted
from wgfleet.cli.fields import show_thing
from wgfleet.cli.given_files import file_text
from wgfleet.cli.output import AsJson, say
from wgfleet.cli.tree import commands

app = commands()
AutoMigrate = Annotated[
    bool | None,
    typer.Option("--auto-migrate/--no-auto-migrate", help="Whether the peers of a node that dies move to the others."),
]
OnlyHealthy = Annotated[
    bool | None, typer.Option("--only-healthy/--also-unhealthy", help="Whether the name leads to nodes in use alone.")
]


@app.command()
def show(config: Config, *, as_json: AsJson = False) -> None:
    """Show the endpoint group of a config."""
    with panel() as client:
        show_thing(client, client.get(f"/api/configs/{part(config)}/endpoint-group"), as_json=as_json)


def endpoint(
    config: Config,
    *,
    domain: Annotated[str | None, typer.Option(help="The name in the users' files.")] = None,
    port: Annotated[int | None, typer.Option(help="The UDP port in the users' files.")] = None,
    ttl: Annotated[int | None, typer.Option(help="TTL of the records, in seconds.")] = None,
    min_nodes: Annotated[int | None, typer.Option(help="Refuse removals that would leave fewer.")] = None,
    auto_migrate: AutoMigrate = None,
    publish_only_healthy: OnlyHealthy = None,
    cloudflare_zone_id: Annotated[str | None, typer.Option(help="The zone's id, from its overview page.")] = None,
    cloudflare_record_name: Annotated[
        str | None, typer.Option(help="The name to publish; default: the domain.")
    ] = None,
    dns_provider: Annotated[str | None, typer.Option(help="Name of an installed DNS provider.")] = None,
    dns_zone: Annotated[str | None, typer.Option(help="Name or id of the zone at the provider.")] = None,
    dns_record_name: Annotated[str | None, typer.Option(help="The name to publish; default: the domain.")] = None,
    dns_mode: Annotated[str | None, typer.Option(help="sync, upsert_only or dry_run.")] = None,
    dns_drift: Annotated[str | None, typer.Option(help="repair or report.")] = None,
    dns_options: Annotated[
        Path | None,
        typer.Option(help="File with the provider's options, a JSON object; - for standard input."),
    ] = None,
    floating_address: Annotated[
        list[str] | None,
        typer.Option("--floating-address", help="It moves between nodes; repeatable; '': none."),
    ] = None,
    address_provider: Annotated[str | None, typer.Option(help="Name of an installed address provider.")] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Show the endpoint group of a config, create it (--domain), or change it; what is not given stays.

    Secrets are read from a file or standard input, where no other user can see them.
    """
    dns = given(
        provider=dns_provider,
        zone=dns_zone,
        record_name=dns_record_name,
        mode=dns_mode,
        drift=dns_drift,
        options=_options(dns_options) if dns_options else None,
    )
    path = f"/api/configs/{part(config)}/endpoint-group"
    body = given(
        domain=domain,
        port=port,
        ttl=ttl,
        min_nodes=min_nodes,
        auto_migrate=auto_migrate,
        publish_only_healthy=publish_only_healthy,
        cloudflare_zone_id=cloudflare_zone_id,
        cloudflare_record_name=cloudflare_record_name,
        dns=dns or None,
        floating_addresses=items(floating_address),
        address_provider=address_provider,
    )
    with panel() as client:
        shown = _put(client, path, body, yes=yes, dry_run=dry_run) if body else client.get(path)
        show_thing(client, shown, as_json=as_json)
    if body and not as_json and not shown["dns"] and not _is_address(shown["domain"]):
        say(
            f"nobody publishes {shown['domain']} yet: point it at the nodes yourself, or have it done (--dns-provider, "
            "docs/dns.md); files made now carry it",
            err=True,
        )


def endpoint_delete(
    config: Config,
    *,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Delete the endpoint group of a config; its name is withdrawn, and new files carry the address of a node."""
    with panel() as client:
        path = f"/api/configs/{part(config)}/endpoint-group"
        ask(client, path, None, yes=yes, dry_run=dry_run)
        client.call("DELETE", path)
    deleted(f"the endpoint group of {config} was deleted", "endpoint_group", config, as_json=as_json, err=True)


app.command("update")(endpoint)
app.command("delete")(endpoint_delete)


def _is_address(domain: str) -> bool:
    try:
        ipaddress.ip_address(domain)
    except ValueError:
        return False
    return True


def _put(client: Client, path: str, body: Document, *, yes: bool, dry_run: bool) -> Document:
    """Change the group, or create it where there is none yet."""
    try:
        client.get(path)
    except CallFailed as error:
        if error.exit_code != ABSENT or "domain" not in body:
            raise
        if dry_run:
            say("an endpoint group would be made; nothing was changed", err=True)
            raise typer.Exit from None
        return cast("Document", client.call("POST", path, body))
    ask(client, path, body, yes=yes, dry_run=dry_run)
    return cast("Document", client.change(path, body))


def _options(file: Path) -> dict[str, Any]:
    text = file_text(file)
    try:
        options = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        typer.echo(f"error: --dns-options: {file} is not JSON: {reason}", err=True)
        raise typer.Exit(USAGE) from None
    if not isinstance(options, dict):
        typer.echo(f'error: --dns-options: {file} must hold a JSON object, such as {{"token": "..."}}', err=True)
        raise typer.Exit(USAGE)
    return options
