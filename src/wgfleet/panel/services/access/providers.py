"""Sign-in providers: who beside the panel vouches for people, and which role their groups give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict
from urllib.parse import urlsplit

from wgfleet.panel import clock
from wgfleet.panel.domain.fields import parse_name
from wgfleet.panel.domain.identities import ProviderKind
from wgfleet.panel.errors import Conflict, Invalid, NotFound
from wgfleet.panel.identity.directory import DirectoryOptions, is_filter
from wgfleet.panel.identity.oidc import OidcOptions
from wgfleet.panel.services import audit
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.access.sign_ins import ClaimedUser
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import sign_in_providers as provider_rows
from wgfleet.panel.store.tables import SignInProvider
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason

MOST = 20
_OF_PERSON = ("{dn}", "{name}")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """A provider to be made. `secret`: the client secret, or the password with which a directory is read."""

    name: str
    kind: ProviderKind
    options: Mapping[str, Any]
    secret: str | None = field(default=None, repr=False)
    roles: Mapping[str, Role] = field(default_factory=dict)
    default_role: Role | None = None
    makes_users: bool = True
    enabled: bool = True


class ProviderChanges(TypedDict, total=False):
    """What may change in a provider; what is left out stays."""

    options: Mapping[str, Any]
    secret: str | None
    roles: Mapping[str, Role]
    default_role: Role | None
    makes_users: bool
    enabled: bool


def create(tx: Tx, vault: Vault, actor: str, spec: ProviderSpec) -> SignInProvider:
    """Make a provider."""
    parse_name(spec.name)
    if provider_rows.find(tx, spec.name) is not None:
        raise Conflict(
            Reason("a sign-in provider named {name!r} already exists; choose another name", name=spec.name),
            field="name",
        )
    if len(provider_rows.all_of(tx)) >= MOST:
        raise Conflict(Reason("there are {most} sign-in providers, which is the most; delete one", most=MOST))
    _check(spec.kind, spec.options)
    provider_id = clock.new_id()
    row = SignInProvider(
        id=provider_id,
        name=spec.name,
        kind=spec.kind,
        enabled=spec.enabled,
        options=dict(spec.options),
        secret_sealed=_sealed(vault, provider_id, spec.secret),
        roles={group: str(role) for group, role in spec.roles.items()},
        default_role=spec.default_role,
        makes_users=spec.makes_users,
        created_at=clock.now(),
        synced_at=None,
        sync_error=None,
    )
    provider_rows.add(tx, row)
    audit.record(tx, actor, "created", "sign_in_provider", row.id, name=row.name, kind=row.kind)
    return row


def get(tx: Tx, reference: str) -> SignInProvider:
    """Return a provider by id or name."""
    row = provider_rows.find(tx, reference)
    if row is None:
        raise NotFound(Reason("there is no sign-in provider {reference!r}", reference=reference))
    return row


def listed(tx: Tx, kind: ProviderKind | None = None, *, enabled: bool | None = None) -> Sequence[SignInProvider]:
    """Return providers in the order they were made."""
    return provider_rows.all_of(tx, kind, enabled=enabled)


def usable(tx: Tx, reference: str, kind: ProviderKind) -> SignInProvider:
    """Return a provider that people may sign in with just now."""
    row = provider_rows.find(tx, reference)
    if row is None or not row.enabled or row.kind != kind:
        raise NotFound(Reason("nobody signs in with {reference!r}", reference=reference), field="provider")
    return row


def update(tx: Tx, vault: Vault, actor: str, row: SignInProvider, changes: ProviderChanges) -> None:
    """Change a provider. Where it asks another server, the secret must be given again: it is for one server alone."""
    if "options" in changes:
        wanted = dict(changes["options"])
        _check(row.kind, wanted)
        place = {ProviderKind.OIDC: "issuer", ProviderKind.LDAP: "url"}.get(row.kind, "user_header")
        if wanted[place] != row.options[place] and row.secret_sealed is not None and "secret" not in changes:
            raise Invalid(Reason("must be given again for another server"), field="secret")
        row.options = wanted
    if "secret" in changes:
        row.secret_sealed = _sealed(vault, row.id, changes["secret"])
    if "roles" in changes:
        row.roles = {group: str(role) for group, role in changes["roles"].items()}
    if "default_role" in changes:
        row.default_role = changes["default_role"]
    row.makes_users = changes.get("makes_users", row.makes_users)
    row.enabled = changes.get("enabled", row.enabled)
    audit.record(tx, actor, "updated", "sign_in_provider", row.id, name=row.name, changed=sorted(changes))
    tx.flush()


def delete(tx: Tx, actor: str, row: SignInProvider) -> None:
    """Delete a provider that no user signs in with."""
    if count := len(provider_rows.users(tx, row.id)):
        raise Conflict(
            Reason(
                "{count} users sign in with {row!r}; delete them first, or disable the provider",
                count=count,
                row=row.name,
            )
        )
    provider_rows.remove(tx, row.id)
    audit.record(tx, actor, "deleted", "sign_in_provider", row.id, name=row.name)


def oidc(vault: Vault, row: SignInProvider) -> OidcOptions:
    """Return what is needed to ask an OpenID provider."""
    return OidcOptions(client_secret=_secret(vault, row), **row.options)


def directory(vault: Vault, row: SignInProvider) -> DirectoryOptions:
    """Return what is needed to ask a directory."""
    return DirectoryOptions(bind_password=_secret(vault, row), **row.options)


def directories(tx: Tx, vault: Vault, claimed: ClaimedUser) -> list[tuple[str, DirectoryOptions]]:
    """Return the directories that are asked about somebody, with their ids: none for who has a password here."""
    if claimed.user_id is not None and claimed.provider_id is None:
        return []
    found = listed(tx, ProviderKind.LDAP, enabled=True)
    return [(row.id, directory(vault, row)) for row in found if claimed.provider_id in {None, row.id}]


def _secret(vault: Vault, row: SignInProvider) -> str | None:
    return None if row.secret_sealed is None else sealed.unseal(vault, SignInProvider.secret_sealed, row)


def _sealed(vault: Vault, provider_id: str, secret: str | None) -> bytes | None:
    return None if secret is None else sealed.seal(vault, SignInProvider.secret_sealed, provider_id, secret)


def _check(kind: ProviderKind, options: Mapping[str, Any]) -> None:
    """Refuse places that are asked without TLS, unless they are on this machine, and filters that are none."""
    if kind == ProviderKind.FORWARDED:
        return
    if kind == ProviderKind.LDAP:  # first: a form names all that is wrong by leaving out what was, and needs a place
        _check_filters(DirectoryOptions(**options))
    place, safe, bare = ("issuer", "https", "http") if kind == ProviderKind.OIDC else ("url", "ldaps", "ldap")
    wrong = Invalid(Reason("must be a URL such as {safe}://id.example.com", safe=safe), field=f"{kind}.{place}")
    try:
        url = urlsplit(str(options[place]))
        named = url.hostname is not None and url.port != 0
    except ValueError:  # no address in brackets, or a port that cannot be
        raise wrong from None
    if not named or url.scheme not in {safe, bare} or url.query or url.fragment:
        raise wrong
    if url.scheme == bare and url.hostname not in _LOOPBACK and not options.get("starttls"):
        way_out = Reason("write {safe}://", safe=safe) + (
            Reason(", or set starttls") if kind == ProviderKind.LDAP else ""
        )
        raise Invalid(
            Reason("passwords and tokens would go in clear: {way_out}", way_out=way_out), field=f"{kind}.{place}"
        )


def _check_filters(options: DirectoryOptions) -> None:
    """Refuse filters that no directory reads, and those that find the same for everybody."""
    named = {"user_filter": (options.user_filter, ("{name}",)), "group_filter": (options.group_filter, _OF_PERSON)}
    for name, (text, marks) in named.items():
        field = f"{ProviderKind.LDAP}.{name}"
        if not is_filter(text):
            raise Invalid(
                Reason("is no filter that a directory can read (RFC 4515); look at its brackets"), field=field
            )
        if not any(mark in text for mark in marks):
            said = Reason("must have {marks}, or it finds the same for everybody", marks=" or ".join(marks))
            raise Invalid(said, field=field)
