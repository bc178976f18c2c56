"""Identities: who somebody is in the words of another system, and which user of the panel that makes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from wgfleet.panel.domain.fields import MAX_NAME

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


class ProviderKind(StrEnum):
    """How a sign-in provider is asked who somebody is."""

    OIDC = "oidc"
    LDAP = "ldap"
    FORWARDED = "forwarded"


@dataclass(frozen=True, slots=True)
class VouchedPerson:
    """Somebody for whom a provider vouches. `subject` never changes and is nobody else's; `name` is for people."""

    subject: str
    name: str
    groups: Sequence[str] = ()


def user_name(text: str) -> str:
    """Return a name of the panel's kind for what another system calls somebody; empty where nothing is left of it."""
    return _NOT_IN_NAMES.sub("-", text)[:MAX_NAME].strip("._-")


def role_of(groups: Sequence[str], roles: Mapping[str, str], default: str | None, order: Sequence[str]) -> str | None:
    """Return the role of somebody in groups: of several the one that is first in `order`; None: no role, no entry.

    Groups are compared without regard to case, as directories do.
    """
    folded = {group.casefold() for group in groups}
    found = {role for group, role in roles.items() if group.casefold() in folded}
    return next((role for role in order if role in found), default)
