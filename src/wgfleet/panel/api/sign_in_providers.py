"""`/api/sign-in-providers`: systems beside the panel that vouch for people."""

from datetime import datetime
from typing import Annotated, Any, cast

from fastapi import Query, status
from pydantic import Field, SecretStr

from wgfleet.panel.api.auth import Admin
from wgfleet.panel.api.models import UNCHANGED, Body, Page, PatchBody, Reference, Said, View, utc
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.fields import MAX_NAME
from wgfleet.panel.domain.identities import ProviderKind
from wgfleet.panel.errors import Invalid, PanelError, told
from wgfleet.panel.identity import directory
from wgfleet.panel.services.access import external, providers
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.access.providers import ProviderChanges, ProviderSpec
from wgfleet.panel.store.tables import SignInProvider
from wgfleet.protocol.reasons import Reason

router = subject_router("sign-in providers")
Text = Annotated[str, Field(min_length=1, max_length=512)]
Header = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9-]*$")]
BY_PROXY = "nobody can be asked: the proxy sends people on who are signed in there"
Secret = Annotated[SecretStr, Field(strict=False, min_length=1, max_length=4096)]
Most = Annotated[bool, Query(description="Also where that disables most users.")]
Roles = Annotated[
    dict[Annotated[str, Field(max_length=256)], Annotated[Role, Field(strict=False)]], Field(max_length=256)
]
DefaultRole = Annotated[Role, Field(strict=False)]
KEPT = "The client secret, or the password with which the directory is read. It is never shown."
ROLES = "From the provider's groups to roles; of several the first of admin, operator, viewer, self-service."
DEFAULT_ROLE = "Of who is in no such group; null: not let in."
MAKES_USERS = "Whether the first sign-in makes the user; false: it is refused."


class OidcSettings(Body):
    """An OpenID provider."""

    issuer: Text = Field(description="As the provider writes it.", examples=["https://id.example.com"])
    client_id: Text
    scopes: list[Text] = Field(default=["openid", "profile", "email"], min_length=1, max_length=20)
    name_claim: Text = Field(default="preferred_username", description="What users are called here.")
    groups_claim: Text = Field(default="groups", description="Where the groups are.")


class LdapSettings(Body):
    """A directory."""

    url: Text = Field(examples=["ldaps://ldap.example.com"])
    base: Text = Field(description="Below which people are looked for.", examples=["ou=people,dc=example,dc=com"])
    bind_dn: Annotated[str, Field(max_length=512)] = Field(default="", description="Who reads; empty: anybody may.")
    starttls: bool = Field(default=False, description="Speak TLS on a connection that begins without.")
    ca: Annotated[str, Field(max_length=65536)] | None = Field(
        default=None, description="PEM of the CAs that count; null: those of the panel's machine."
    )
    user_filter: Text = Field(
        default="(&(objectClass=person)(uid={name}))", description="`{name}`: what somebody signs in with, escaped."
    )
    name_attribute: Text = "uid"
    subject_attribute: Text = Field(default="entryUUID", description="What never changes; `objectGUID` of AD.")
    group_base: Annotated[str, Field(max_length=512)] = Field(default="", description="Empty: as `base`.")
    group_filter: Text = Field(
        default="(&(objectClass=groupOfNames)(member={dn}))", description="With `{dn}` or `{name}` of a person."
    )
    group_attribute: Text = "cn"


class ForwardedSettings(Body):
    """A proxy that has signed people in, and says in headers who they are. `door.trusted_proxies` names it."""

    user_header: Header = Field(examples=["Remote-User"])
    groups_header: Header | None = Field(default=None, description="With commas between.", examples=["Remote-Groups"])


class NewProvider(Body):
    """The provider to make: one of `oidc`, `ldap` and `forwarded`."""

    name: str = Field(max_length=MAX_NAME, examples=["company"])
    oidc: OidcSettings | None = None
    ldap: LdapSettings | None = None
    forwarded: ForwardedSettings | None = None
    secret: Secret | None = Field(default=None, description=KEPT)
    roles: Roles = Field(default={}, description=ROLES, examples=[{"vpn-admins": "admin"}])
    default_role: DefaultRole | None = Field(default=None, description=DEFAULT_ROLE)
    makes_users: bool = Field(default=True, description=MAKES_USERS)
    enabled: bool = True


class ChangedProvider(PatchBody):
    """The fields to change; a field that is left out keeps its value."""

    oidc: OidcSettings = UNCHANGED
    ldap: LdapSettings = UNCHANGED
    forwarded: ForwardedSettings = UNCHANGED
    secret: Secret | None = Field(default=UNCHANGED, description=KEPT)
    roles: Roles = Field(default=UNCHANGED, description=ROLES)
    default_role: DefaultRole | None = Field(default=UNCHANGED, description=DEFAULT_ROLE)
    makes_users: bool = Field(default=UNCHANGED, description=MAKES_USERS)
    enabled: bool = UNCHANGED


class ProviderView(View):
    """A system that vouches for people."""

    id: str
    name: str
    kind: ProviderKind
    enabled: bool
    oidc: OidcSettings | None
    ldap: LdapSettings | None
    forwarded: ForwardedSettings | None
    has_secret: bool
    roles: dict[str, str] = Field(description=ROLES)
    default_role: str | None = Field(description=DEFAULT_ROLE)
    makes_users: bool = Field(description=MAKES_USERS)
    created_at: datetime
    synced_at: datetime | None = Field(description="When it was last looked who is still in the directory.")
    sync_error: Said | None = Field(description="Why that failed the last time.")


class ProviderTestView(View):
    """What a test of a provider found."""

    ok: bool
    finding: str


class SyncView(View):
    """What a look at who is still in the directory did."""

    disabled: list[str] = Field(description="Users who are gone, or have no role any more.")
    changed: list[str] = Field(description="Users who have another role.")


def _view(row: SignInProvider) -> ProviderView:
    return ProviderView(
        id=row.id,
        name=row.name,
        kind=row.kind,
        enabled=row.enabled,
        oidc=OidcSettings(**row.options) if row.kind == ProviderKind.OIDC else None,
        ldap=LdapSettings(**row.options) if row.kind == ProviderKind.LDAP else None,
        forwarded=ForwardedSettings(**row.options) if row.kind == ProviderKind.FORWARDED else None,
        has_secret=row.secret_sealed is not None,
        roles=row.roles,
        default_role=row.default_role,
        makes_users=row.makes_users,
        created_at=utc(row.created_at),
        synced_at=utc(row.synced_at),
        sync_error=row.sync_error,
    )


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


@router.get("/api/sign-in-providers", summary="List sign-in providers")
def list_sign_in_providers(panel: ThePanel, _caller: Admin) -> Page[ProviderView]:
    """All of them; there are 20 at most."""
    with panel.store.read() as tx:
        return Page(items=[_view(row) for row in providers.listed(tx)])


@router.post("/api/sign-in-providers", status_code=status.HTTP_201_CREATED, summary="Add a sign-in provider")
def create_sign_in_provider(panel: ThePanel, caller: Admin, body: NewProvider) -> ProviderView:
    """Nobody is asked yet: test it afterwards. An OpenID provider sends browsers back to `PUBLIC_URL/sign-in/oidc`."""
    given = [(kind, options) for kind in ProviderKind if (options := getattr(body, kind)) is not None]
    if len(given) != 1:
        raise Invalid(Reason("give one of oidc, ldap and forwarded"), field="oidc")
    ((kind, options),) = given
    spec = ProviderSpec(
        name=body.name,
        kind=kind,
        options=options.model_dump(),
        secret=_plain(body.secret),
        roles=body.roles,
        default_role=body.default_role,
        makes_users=body.makes_users,
        enabled=body.enabled,
    )
    with panel.store.write() as tx:
        return _view(providers.create(tx, panel.vault, caller.actor, spec))


@router.get("/api/sign-in-providers/{provider}", summary="Show a sign-in provider")
def show_sign_in_provider(panel: ThePanel, _caller: Admin, provider: Reference) -> ProviderView:
    with panel.store.read() as tx:
        return _view(providers.get(tx, provider))


@router.patch("/api/sign-in-providers/{provider}", summary="Change a sign-in provider")
def update_sign_in_provider(panel: ThePanel, caller: Admin, provider: Reference, body: ChangedProvider) -> ProviderView:
    """Where it is to ask another server, its secret has to be given again."""
    given: dict[str, Any] = body.given()
    with panel.store.write() as tx:
        row = providers.get(tx, provider)
        other = {str(kind) for kind in ProviderKind} - {str(row.kind)}
        if wrong := other & given.keys():
            raise Invalid(Reason("{row!r} is of the kind {kind}", row=row.name, kind=row.kind), field=wrong.pop())
        if str(row.kind) in given:
            given["options"] = given.pop(str(row.kind))
        if "secret" in given:
            given["secret"] = _plain(body.secret)
        providers.update(tx, panel.vault, caller.actor, row, cast("ProviderChanges", given))
        return _view(row)


@router.delete(
    "/api/sign-in-providers/{provider}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a sign-in provider"
)
def delete_sign_in_provider(panel: ThePanel, caller: Admin, provider: Reference) -> None:
    """Refused (409) while users sign in with it."""
    with panel.store.write() as tx:
        providers.delete(tx, caller.actor, providers.get(tx, provider))


@router.post("/api/sign-in-providers/{provider}/test", summary="Test a sign-in provider")
def try_sign_in_provider(panel: ThePanel, _caller: Admin, provider: Reference) -> ProviderTestView:
    """Ask it now; nobody signs in."""
    with panel.store.read() as tx:
        row = providers.get(tx, provider)
        oidc = providers.oidc(panel.vault, row) if row.kind == ProviderKind.OIDC else None
        ldap = providers.directory(panel.vault, row) if row.kind == ProviderKind.LDAP else None
    try:
        finding = panel.oidc.test(oidc) if oidc is not None else directory.test(ldap) if ldap is not None else BY_PROXY
    except PanelError as error:
        return ProviderTestView(ok=False, finding=told(error))
    return ProviderTestView(ok=True, finding=finding)


@router.post("/api/sign-in-providers/{provider}/sync", summary="Look who is still in a directory")
def sync_sign_in_provider(panel: ThePanel, _caller: Admin, provider: Reference, *, force: Most = False) -> SyncView:
    """Disable users who are gone, with their devices. It is done by itself every hour.

    Refused (409) where most users would be disabled.
    """
    with panel.store.read() as tx:
        row = providers.get(tx, provider)
        if row.kind != ProviderKind.LDAP:
            raise Invalid(
                Reason("{row!r} is no directory, and cannot be asked who is there", row=row.name), field="provider"
            )
        options = providers.directory(panel.vault, row)
    present = directory.everybody(options)
    with panel.store.write() as tx:
        done = external.sync(tx, panel.vault, providers.get(tx, row.id), present, force=force)
    return SyncView(disabled=done.disabled, changed=done.changed)
