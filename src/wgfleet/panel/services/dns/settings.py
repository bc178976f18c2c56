"""What an endpoint group says of DNS: checked, secrets sealed and never shown again."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wgfleet.panel.dns.plugins import HIDDEN, Registry
from wgfleet.panel.dns.providers import Capabilities
from wgfleet.panel.domain.dns.listing import DnsMode, OnDrift
from wgfleet.panel.domain.dns.records import AUTOMATIC_TTL_S
from wgfleet.panel.errors import Invalid, PermanentError
from wgfleet.panel.services.dns.syncs import name_of
from wgfleet.panel.store import sealed
from wgfleet.panel.store.tables import EndpointGroup
from wgfleet.panel.vault import Vault
from wgfleet.protocol.addresses import parse_domain

CLOUDFLARE = "cloudflare"
_ZONE_ID = re.compile(r"[0-9A-Za-z]{1,32}")  # published schema: an identifier of at most 32 characters


@dataclass(frozen=True, slots=True)
class DnsSpec:
    """How a name is to be published. `record_name` None: the group's domain. A secret that was `HIDDEN` stays."""

    provider: str
    zone: str | None = None
    record_name: str | None = None
    mode: DnsMode = DnsMode.SYNC
    drift: OnDrift = OnDrift.REPAIR
    options: Mapping[str, Any] | None = None
    short_form: bool = False

    def __repr__(self) -> str:
        """Say what is published where, without the options."""
        return f"DnsSpec({self.provider!r}, {self.zone!r}, {self.record_name!r})"

    def field(self, name: str) -> str:
        """Return the path of a field in the body that it came from."""
        if not self.short_form:
            return f"dns.{name}"
        return {"zone": "cloudflare_zone_id", "record_name": "cloudflare_record_name"}.get(name, f"dns.{name}")


def of_cloudflare(zone: str | None, record_name: str | None, dns: DnsSpec | None) -> DnsSpec | None:
    """Turn the body's two short fields into what they stand for."""
    if zone is None and record_name is None:
        return dns
    if dns is not None:
        raise Invalid("stands for dns with the provider cloudflare; give one of them", field="cloudflare_zone_id")
    if zone is None or not _ZONE_ID.fullmatch(zone):
        raise Invalid(
            "must be the zone's id as its overview shows it, up to 32 letters and digits", field="cloudflare_zone_id"
        )
    return DnsSpec(CLOUDFLARE, zone, record_name, short_form=True)


def apply(vault: Vault, registry: Registry, group: EndpointGroup, spec: DnsSpec | None) -> None:
    """Set the group's columns of DNS, or name the first field that is wrong; domain and TTL are set already."""
    if spec is None:
        group.dns_provider = group.dns_zone = group.dns_record_name = group.dns_options_sealed = None
        group.dns_mode, group.dns_drift = DnsMode.SYNC, OnDrift.REPAIR
        return
    registry.type(spec.provider)
    kept = options(vault, group) if (group.dns_provider, group.dns_zone) == (spec.provider, spec.zone) else {}
    given = registry.checked(spec.provider, _with_kept(registry, spec, kept))
    record_name = None if spec.record_name is None else parse_domain(spec.record_name, spec.field("record_name"))
    _check_ttl(group.ttl, _capabilities(registry, spec, given), spec.provider)
    group.dns_provider, group.dns_zone, group.dns_record_name = spec.provider, spec.zone, record_name
    group.dns_mode, group.dns_drift = spec.mode, spec.drift
    group.dns_options_sealed = (
        sealed.seal(vault, EndpointGroup.dns_options_sealed, group.config_id, json.dumps(given)) if given else None
    )


def _with_kept(registry: Registry, spec: DnsSpec, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with secrets of before, which stay only where all else does.

    Whoever may write a group must not have its secret sent to a server of their own.
    """
    secrets = registry.secrets(spec.provider)
    asked = dict(spec.options) if spec.options is not None else {k: v for k, v in kept.items() if k not in secrets}
    hidden = {key for key in secrets if asked.get(key) == HIDDEN}
    open_ = {key: value for key, value in asked.items() if key not in hidden}
    same = {k: v for k, v in open_.items() if k not in secrets} == {k: v for k, v in kept.items() if k not in secrets}
    for key in sorted(hidden):
        if not same or key not in kept:
            raise Invalid(
                "give it again: it is kept only where provider, zone and all other options stay",
                field=f"dns.options.{key}",
            )
    if same:
        omitted = {key: value for key, value in kept.items() if key in secrets and key not in open_}
        open_ |= omitted
    return open_


def _capabilities(registry: Registry, spec: DnsSpec, given: Mapping[str, Any]) -> Capabilities:
    try:
        provider = registry.open(spec.provider, spec.zone or "", given)
    except PermanentError as error:
        raise Invalid(str(error), field=spec.field("zone")) from None
    try:
        return provider.capabilities
    finally:
        provider.close()


def _check_ttl(ttl: int, can: Capabilities, provider: str) -> None:
    if ttl == AUTOMATIC_TTL_S and can.automatic_ttl:
        return
    if not can.min_ttl <= ttl <= can.max_ttl:
        automatic = ", or 1 for its own choice" if can.automatic_ttl else ""
        raise Invalid(f"{provider} takes {can.min_ttl} to {can.max_ttl} s{automatic}, not {ttl}", field="ttl")


def options(vault: Vault, group: EndpointGroup) -> dict[str, Any]:
    """Return a group's options with their secrets."""
    if group.dns_options_sealed is None:
        return {}
    found: dict[str, Any] = json.loads(sealed.unseal(vault, EndpointGroup.dns_options_sealed, group))
    return found


def shown(vault: Vault, registry: Registry, group: EndpointGroup) -> dict[str, Any] | None:
    """Return what a group says of DNS as it may be shown; None where nothing is published."""
    if group.dns_provider is None:
        return None
    return {
        "provider": group.dns_provider,
        "zone": group.dns_zone,
        "record_name": name_of(group),
        "mode": group.dns_mode,
        "drift": group.dns_drift,
        "options": registry.shown(group.dns_provider, options(vault, group)),
    }
