"""`wgfleet provider`: systems beside the panel that vouch for people, by OpenID Connect or LDAP."""

from pathlib import Path
from typing import Annotated

import typer

from wgfleet.cli.arguments import Provider
from wgfleet.cli.client import CallFailed, Client, Document, panel, part
from wgfleet.cli.confirmation import Yes, ask_secret, go_on
from wgfleet.cli.deleting import deleted
from wgfleet.cli.fields import show_fields
from wgfleet.cli.given_files import file_text
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, say
from wgfleet.cli.tree import commands
from wgfleet.protocol.quotes import quoted

app = commands()
COLUMNS = ("name", "kind", "enabled", "default_role", "makes_users", "synced_at", "sync_error")

Name = Annotated[str, typer.Argument(help="Name of the new provider.")]
Role = Annotated[list[str] | None, typer.Option("--role", help="GROUP=ROLE; repeatable.")]
DefaultRole = Annotated[str | None, typer.Option(help="Role of who is in no such group; without: not let in.")]
MakesUsers = Annotated[bool, typer.Option("--makes-users/--no-makes-users", help="The first sign-in makes the user.")]
Secret = Annotated[bool, typer.Option("--secret", help="Ask for the secret, or read it from standard input.")]


@app.command("list")
@listed(*COLUMNS, wide=("id",))
def list_providers(client: Client) -> ListResult:
    """List with what people sign in beside passwords and passkeys."""
    return ListResult(client.all("/api/sign-in-providers"))


@app.command()
def show(provider: Provider, *, as_json: AsJson = False) -> None:
    """Show a provider; its secret is never shown."""
    with panel() as client:
        show_fields(client.get(f"/api/sign-in-providers/{part(provider)}"), as_json=as_json)


@app.command()
def create_oidc(
    name: Name,
    *,
    issuer: Annotated[str, typer.Option(help="As the provider writes it, such as https://id.example.com.")],
    client_id: Annotated[str, typer.Option(help="What the panel is called there.")],
    role: Role = None,
    default_role: DefaultRole = None,
    makes_users: MakesUsers = True,
    name_claim: Annotated[str, typer.Option(help="Claim with what users are called.")] = "preferred_username",
    groups_claim: Annotated[str, typer.Option(help="Claim with the groups.")] = "groups",
    secret: Secret = False,
    as_json: AsJson = False,
) -> None:
    """Let people sign in with an OpenID provider. Register `PUBLIC_URL/sign-in/oidc` there."""
    oidc = {"issuer": issuer, "client_id": client_id, "name_claim": name_claim, "groups_claim": groups_claim}
    _create(name, {"oidc": oidc}, role, default_role, makes_users=makes_users, secret=secret, as_json=as_json)


@app.command()
def create_ldap(
    name: Name,
    *,
    url: Annotated[str, typer.Option(help="Such as ldaps://ldap.example.com.")],
    base: Annotated[str, typer.Option(help="Below which people are looked for.")],
    bind_dn: Annotated[str, typer.Option(help="Who reads the directory.")] = "",
    starttls: Annotated[bool, typer.Option("--starttls", help="For ldap://: speak TLS before anything else.")] = False,
    ca_file: Annotated[Path | None, typer.Option(help="PEM of the CAs that count.")] = None,
    user_filter: Annotated[str | None, typer.Option(help="With {name}.")] = None,
    group_base: Annotated[str | None, typer.Option(help="Below which groups are looked for.")] = None,
    group_filter: Annotated[str | None, typer.Option(help="With {dn} or {name}.")] = None,
    subject_attribute: Annotated[str | None, typer.Option(help="What never changes of a person.")] = None,
    role: Role = None,
    default_role: DefaultRole = None,
    makes_users: MakesUsers = True,
    secret: Secret = False,
    as_json: AsJson = False,
) -> None:
    """Let people sign in with the password that they have in a directory."""
    given = {
        "user_filter": user_filter,
        "group_base": group_base,
        "group_filter": group_filter,
        "subject_attribute": subject_attribute,
        "ca": None if ca_file is None else file_text(ca_file),
    }
    ldap = {"url": url, "base": base, "bind_dn": bind_dn, "starttls": starttls}
    ldap |= {key: value for key, value in given.items() if value is not None}
    _create(name, {"ldap": ldap}, role, default_role, makes_users=makes_users, secret=secret, as_json=as_json)


@app.command()
def update(
    provider: Provider,
    *,
    role: Role = None,
    default_role: DefaultRole = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether people sign in with it.")] = None,
    secret: Secret = False,
    as_json: AsJson = False,
) -> None:
    """Change who gets which role, the secret, or whether people sign in with a provider."""
    wanted = {
        "roles": _roles(role) if role else None,
        "default_role": default_role,
        "enabled": enabled,
        "secret": ask_secret("Secret") if secret else None,
    }
    changes: Document = {name: value for name, value in wanted.items() if value is not None}
    if not changes:
        raise typer.BadParameter("nothing to change: give --role, --default-role, --secret, --enable or --disable")
    with panel() as client:
        show_fields(client.change(f"/api/sign-in-providers/{part(provider)}", changes), as_json=as_json)


@app.command()
def test(provider: Provider) -> None:
    """Ask a provider now; nobody signs in."""
    with panel() as client:
        found = client.call("POST", f"/api/sign-in-providers/{part(provider)}/test")
    if not found["ok"]:
        raise CallFailed(found["finding"])
    say(found["finding"])


@app.command()
def sync(
    provider: Provider,
    *,
    force: Annotated[bool, typer.Option("--force", help="Also where that disables most users.")] = False,
) -> None:
    """Disable users, and their devices, who are no longer in a directory. It is done by itself every hour."""
    with panel() as client:
        path = f"/api/sign-in-providers/{part(provider)}/sync"
        done = client.call("POST", path, force=force or None)
    say(f"disabled: {', '.join(done['disabled']) or 'nobody'}; another role: {', '.join(done['changed']) or 'nobody'}")


@app.command()
def delete(provider: Provider, *, yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete a provider that no user signs in with."""
    if not yes:
        go_on(f"Delete {provider}?")
    with panel() as client:
        client.call("DELETE", f"/api/sign-in-providers/{part(provider)}")
    deleted(f"{provider} is deleted", "sign_in_provider", provider, as_json=as_json)


def _create(
    name: str,
    kind: Document,
    role: list[str] | None,
    default_role: str | None,
    *,
    makes_users: bool,
    secret: bool,
    as_json: bool,
) -> None:
    body = {"name": name, "roles": _roles(role or []), "default_role": default_role, "makes_users": makes_users}
    if secret:
        body["secret"] = ask_secret("Secret")
    with panel() as client:
        show_fields(client.call("POST", "/api/sign-in-providers", body | kind), as_json=as_json)


def _roles(given: list[str]) -> dict[str, str]:
    pairs = [each.rpartition("=") for each in given]
    if wrong := next(
        (each for each, (group, _, role) in zip(given, pairs, strict=True) if not group or not role), None
    ):
        raise typer.BadParameter(f"--role {quoted(wrong)} is not GROUP=ROLE")
    return {group: role for group, _, role in pairs}
