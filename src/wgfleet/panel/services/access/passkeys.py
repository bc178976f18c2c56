"""Passkeys (WebAuthn): keys of users' authenticators, which sign them in without a password.

A challenge is in no table: it is sealed into a text that the browser gives back, so that strangers who ask for one cost
nothing. An answer counts once: a passkey takes no challenge that is as old as the last one it answered, or older.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, options_to_json_dict
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from wgfleet.panel import clock
from wgfleet.panel.domain.fields import parse_title
from wgfleet.panel.errors import Conflict, Invalid, NotFound
from wgfleet.panel.services import audit
from wgfleet.panel.services.access import sign_ins, users
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.access.sign_ins import SignInRefused
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import passkeys as passkey_rows
from wgfleet.panel.store import users as user_rows
from wgfleet.panel.store.tables import Passkey, SignIn, User
from wgfleet.panel.vault import Vault, VaultError
from wgfleet.protocol.reasons import Reason

MOST = 20  # of a user
MAX_NAME = 64
CHALLENGE_S = 300.0
_WHAT = "passkeys"
_ANYBODY = ""


@dataclass(frozen=True, slots=True)
class Site:
    """What authenticators know the panel by: its host name, and the origin that browsers show."""

    host: str
    origin: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a browser hands to an authenticator, and the sealed challenge that it gives back."""

    options: dict[str, Any]
    challenge: str


@dataclass(frozen=True, slots=True)
class _Challenge:
    value: bytes
    user_id: str
    at: float


def checked_name(name: str) -> str:
    """Return a name for a passkey in its one spelling; asked before a device makes a key that would not be kept."""
    return parse_title(name, MAX_NAME)


def begin_registration(tx: Tx, vault: Vault, caller: Caller, site: Site) -> Asked:
    """Ask for a new passkey of the caller's."""
    user = users.of_caller(tx, caller)
    if user.provider_id is not None:
        raise Conflict(Reason("user {user!r} signs in with a provider, and has no passkeys here", user=user.name))
    have = passkey_rows.of_user(tx, user.id)
    if len(have) >= MOST:
        raise Conflict(Reason("you have {most} passkeys, which is the most; remove one", most=MOST))
    challenge = clock.new_bytes(32)
    options = generate_registration_options(
        rp_id=site.host,
        rp_name="wgfleet",
        user_id=user.id.encode(),
        user_name=user.name,
        challenge=challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=base64url_to_bytes(each.credential_id)) for each in have],
    )
    return Asked(options_to_json_dict(options), _sealed(vault, challenge, user.id))


def register(
    tx: Tx, vault: Vault, caller: Caller, site: Site, challenge: str, name: str, credential: Mapping[str, Any]
) -> Passkey:
    """Keep a passkey that answers a challenge."""
    asked = _opened(vault, challenge)
    user = user_rows.lock(tx, users.of_caller(tx, caller).id)
    if asked is None or user is None or asked.user_id != user.id:
        raise Invalid(Reason("is unknown, or too old; begin again"), field="challenge")
    if len(passkey_rows.of_user(tx, user.id)) >= MOST:
        raise Conflict(Reason("you have {most} passkeys, which is the most; remove one", most=MOST))
    try:
        verified = verify_registration_response(
            credential=dict(credential),
            expected_challenge=asked.value,
            expected_rp_id=site.host,
            expected_origin=site.origin,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as error:
        raise Invalid(Reason("is no answer to the challenge: {what}", what=_words(error)), field="credential") from None
    credential_id = bytes_to_base64url(verified.credential_id)
    if passkey_rows.by_credential(tx, credential_id) is not None:
        raise Conflict(Reason("this passkey is registered already"), field="credential")
    row = Passkey(
        id=clock.new_id(),
        user_id=user.id,
        name=checked_name(name),
        credential_id=credential_id,
        public_key=verified.credential_public_key,
        uses=verified.sign_count,
        challenged_at=asked.at,
        created_at=clock.now(),
        last_used_at=None,
    )
    passkey_rows.add(tx, row)
    audit.record(tx, caller.actor, "created", "passkey", row.id, name=row.name, user=user.name)
    return row


def begin_sign_in(vault: Vault, site: Site) -> Asked:
    """Ask for any passkey of this panel."""
    challenge = clock.new_bytes(32)
    options = generate_authentication_options(
        rp_id=site.host, challenge=challenge, user_verification=UserVerificationRequirement.REQUIRED
    )
    return Asked(options_to_json_dict(options), _sealed(vault, challenge, _ANYBODY))


def sign_in(
    tx: Tx, vault: Vault, site: Site, challenge: str, credential: Mapping[str, Any], address: str, program: str
) -> tuple[SignIn, str, str]:
    """Let in whose passkey answers a challenge; return the sign-in, its token and the user's name.

    The authenticator has asked for a finger or a PIN, so no second factor is asked for.
    """
    asked = _opened(vault, challenge)
    if asked is None or asked.user_id != _ANYBODY:
        raise SignInRefused(Reason("the challenge is unknown, or too old; begin again"), "challenge", None)
    row = passkey_rows.by_credential(tx, str(credential.get("id", "")))
    user = None if row is None else user_rows.lock(tx, row.user_id)
    if row is None or user is None:
        raise SignInRefused(Reason("the passkey is unknown here; it may have been removed"), "passkey", None)
    tx.refresh(row)
    try:
        verified = verify_authentication_response(
            credential=dict(credential),
            expected_challenge=asked.value,
            expected_rp_id=site.host,
            expected_origin=site.origin,
            credential_public_key=row.public_key,
            credential_current_sign_count=row.uses,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as error:
        raise SignInRefused(
            Reason("the passkey does not answer the challenge: {what}", what=_words(error)), "answer", user.id
        ) from None
    if asked.at <= row.challenged_at:
        raise SignInRefused(Reason("the challenge was answered before; begin again"), "replayed", user.id)
    if user.disabled:
        raise SignInRefused(
            Reason("user {user!r} is disabled; ask an administrator", user=user.name), "disabled", user.id
        )
    row.uses, row.challenged_at, row.last_used_at = verified.new_sign_count, asked.at, clock.now()
    made, token = sign_ins.add(tx, user, address, program, factor=Reason("passkey {name}", name=row.name))
    return made, token, user.name


def listed(tx: Tx, user: User) -> Sequence[Passkey]:
    """Return a user's passkeys in the order they were made."""
    return passkey_rows.of_user(tx, user.id)


def remove(tx: Tx, actor: str, user: User, passkey_id: str) -> None:
    """Have a passkey of a user count no longer."""
    row = next((each for each in passkey_rows.of_user(tx, user.id) if each.id == passkey_id), None)
    if row is None:
        raise NotFound(Reason("user {user!r} has no passkey {passkey_id!r}", user=user.name, passkey_id=passkey_id))
    passkey_rows.remove(tx, row.id)
    audit.record(tx, actor, "removed", "passkey", row.id, name=row.name, user=user.name)


def _sealed(vault: Vault, challenge: bytes, user_id: str) -> str:
    text = json.dumps([bytes_to_base64url(challenge), user_id, clock.now()])
    return sealed.seal_for_browser(vault, _WHAT, text)


def _opened(vault: Vault, text: str) -> _Challenge | None:
    """Return a challenge of ours that is young enough."""
    try:
        value, user_id, at = json.loads(sealed.unseal_of_browser(vault, _WHAT, text))
    except VaultError:
        return None
    return _Challenge(base64url_to_bytes(value), user_id, at) if at + CHALLENGE_S > clock.now() else None


def _words(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
