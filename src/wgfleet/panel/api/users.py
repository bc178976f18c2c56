"""`/api/users`: people who sign in, and what each may do."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, cast

from fastapi import Query, Request, status
from pydantic import Field

from wgfleet.panel.api.auth import Admin
from wgfleet.panel.api.keys import CONFIGS, NODE_GROUPS, References
from wgfleet.panel.api.models import UNCHANGED, After, Body, Limit, Page, PatchBody, Reference, View, page, utc
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.fields import MAX_NAME
from wgfleet.panel.services import operations
from wgfleet.panel.services.access import limits, providers, standing, users
from wgfleet.panel.services.access.callers import ROLES, Role
from wgfleet.panel.services.access.users import UserChanges, UserSpec
from wgfleet.panel.services.fleet import ownership
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import User

router = subject_router("users")
DeviceLimit = Annotated[int, Field(ge=0, le=10_000)]
DEVICES = "How many devices of its own a user may have; null: as many as the setting `self_service.devices` says."
_ROLES = "; ".join(f"`{role}` has the scopes {', '.join(sorted(scopes))}" for role, scopes in ROLES.items())


class NewUser(Body):
    """The user to create."""

    name: str = Field(max_length=MAX_NAME, examples=["anna"])
    role: Role = Field(strict=False, description=f"{_ROLES}.", examples=["operator"])
    configs: References | None = Field(default=None, description=CONFIGS)
    node_groups: References | None = Field(default=None, description=NODE_GROUPS)
    device_limit: DeviceLimit | None = Field(default=None, description=DEVICES)


class UserChange(PatchBody):
    """What to change."""

    role: Role = Field(default=UNCHANGED, strict=False, description="Counts from the next call on.")
    disabled: bool = Field(
        default=UNCHANGED,
        description="A disabled user is signed out, and cannot sign in. The user's devices are switched off, and stay "
        "off until each is switched on again.",
    )
    configs: References | None = Field(default=UNCHANGED, description=CONFIGS)
    node_groups: References | None = Field(default=UNCHANGED, description=NODE_GROUPS)
    device_limit: DeviceLimit | None = Field(default=UNCHANGED, description=DEVICES)


class UserView(View):
    """A person who signs in."""

    id: str
    name: str
    role: Role
    disabled: bool
    configs: list[str] | None = Field(description=CONFIGS)
    node_groups: list[str] | None = Field(description=NODE_GROUPS)
    devices: int = Field(description="How many peers are the user's own devices.")
    device_limit: int | None = Field(description=DEVICES)
    provider: str | None = Field(description="Name of the sign-in provider that vouches for the user; null: none.")
    has_password: bool = Field(description="False: nobody has signed in yet with the link.")
    second_factor: bool = Field(description="Whether a code of an authenticator app is asked for.")
    recovery_codes: int = Field(description="How many are left.")
    sign_ins: int = Field(description="How many of them last.")
    operations: int = Field(
        description="How many that the user began have not ended: they stop when the user is disabled or deleted."
    )
    link_expires_at: datetime | None = Field(description="Until when the link sets a password; null: there is none.")
    created_at: datetime
    signed_in_at: datetime | None


ADDRESS = Field(
    description="The link: the panel's page, with the secret behind `#`, which browsers send to nobody.",
    examples=["https://vpn.example.com/set-password#wgl_..."],
)


class PasswordLinkView(View):
    """A link with which a user sets a password, once."""

    link: str = Field(description="The secret of the link. It is never shown again.", examples=["wgl_..."])
    address: str = ADDRESS
    expires_at: datetime


class NewUserView(UserView):
    """A new user."""

    link: str = Field(
        description="With it the user sets a password (`POST /api/set-password`), once. It is never shown again.",
        examples=["wgl_..."],
    )
    address: str = ADDRESS


def views(tx: Tx, rows: Sequence[User]) -> list[UserView]:
    """Show users."""
    links, sign_ins = users.link_expiry(tx, rows), users.sign_in_counts(tx, rows)
    devices = ownership.counts(tx, [row.id for row in rows])
    vouching = {each.id: each.name for each in providers.listed(tx)}
    begun = operations.unfinished_of(tx, [standing.of_user(row.id) for row in rows])
    within = {row.id: limits.names(tx, row.limit_configs, row.limit_groups) for row in rows}
    return [
        UserView(
            id=row.id,
            name=row.name,
            role=Role(row.role),
            disabled=row.disabled,
            configs=within[row.id][0],
            node_groups=within[row.id][1],
            devices=devices.get(row.id, 0),
            device_limit=row.device_limit,
            provider=vouching.get(row.provider_id or ""),
            has_password=row.password_hash is not None,
            second_factor=row.totp_since is not None,
            recovery_codes=len(row.recovery_digests),
            sign_ins=sign_ins.get(row.id, 0),
            operations=begun.get(standing.of_user(row.id), 0),
            link_expires_at=utc(links.get(row.id)),
            created_at=utc(row.created_at),
            signed_in_at=utc(row.signed_in_at),
        )
        for row in rows
    ]


@router.get("/api/users", summary="List users")
def list_users(panel: ThePanel, _caller: Admin, after: After = None, limit: Limit = 100) -> Page[UserView]:
    with panel.store.read() as tx:
        return page(users.page(tx, after, limit + 1), limit, lambda rows: views(tx, rows))


@router.post("/api/users", status_code=status.HTTP_201_CREATED, summary="Create a user")
def create_user(panel: ThePanel, caller: Admin, request: Request, body: NewUser) -> NewUserView:
    """Return the user, and the secret of the link with which a password is set. No password goes through your hands."""
    with panel.store.write() as tx:
        user, link = users.create(
            tx,
            caller.actor,
            UserSpec(body.name, body.role, body.configs, body.node_groups, body.device_limit),
        )
        (view,) = views(tx, [user])
    return NewUserView(link=link, address=_address(panel, request, link), **view.model_dump())


@router.get("/api/users/{user}", summary="Show a user")
def show_user(panel: ThePanel, _caller: Admin, user: Reference) -> UserView:
    with panel.store.read() as tx:
        return views(tx, [users.get(tx, user)])[0]


@router.patch("/api/users/{user}", summary="Change a user")
def update_user(panel: ThePanel, caller: Admin, user: Reference, body: UserChange) -> UserView:
    """Refused (409) where nobody could sign in as an administrator afterwards."""
    with panel.store.write() as tx:
        row = users.get(tx, user)
        changes = body.given()
        if "node_groups" in changes:
            changes["groups"] = changes.pop("node_groups")
        users.update(tx, panel.vault, caller.actor, row, cast("UserChanges", changes))
        return views(tx, [row])[0]


@router.delete("/api/users/{user}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a user")
def delete_user(
    panel: ThePanel, caller: Admin, user: Reference, *, devices: Annotated[Literal["delete"] | None, Query()] = None
) -> None:
    """Refused (409) where nobody could sign in as an administrator afterwards, or where the user has devices.

    With `devices=delete` they are deleted too. What the user did stays in the log.
    """
    with panel.store.write() as tx:
        users.delete(tx, caller.actor, users.get(tx, user), with_devices=devices == "delete")


@router.post("/api/users/{user}/password-link", status_code=status.HTTP_201_CREATED, summary="Make a password link")
def create_password_link(panel: ThePanel, caller: Admin, request: Request, user: Reference) -> PasswordLinkView:
    """For who has forgotten the password. The one before is worth nothing; the old password counts until it is used."""
    with panel.store.write() as tx:
        row = users.get(tx, user)
        link = users.new_link(tx, caller.actor, row)
        expires_at = users.link_expiry(tx, [row])[row.id]
    return PasswordLinkView(link=link, address=_address(panel, request, link), expires_at=utc(expires_at))


def _address(panel: Panel, request: Request, secret: str) -> str:
    """Return where a user sets a password: below the panel's public address, or the one that was asked."""
    return f"{panel.address(str(request.base_url))}/set-password#{secret}"


@router.delete(
    "/api/users/{user}/second-factor", status_code=status.HTTP_204_NO_CONTENT, summary="Remove a second factor"
)
def remove_second_factor(panel: ThePanel, caller: Admin, user: Reference) -> None:
    """For who has lost the device and the recovery codes: the password alone lets the user in."""
    with panel.store.write() as tx:
        users.remove_second_factor(tx, caller.actor, users.get(tx, user))
