"""DNS settings of an endpoint group: checked, their secrets sealed and never shown again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.providers import Capabilities
from wgfleet.panel.domain.dns.listing import DnsMode, OnDrift
from wgfleet.panel.domain.dns.records import AUTOMATIC_TTL_S
from wgfleet.panel.errors import Invalid, PermanentError
from wgfleet.panel.services.dns.published_names import name_of
from wgfleet.panel.store import sealed
from wgfleet.panel.store.tables import EndpointGroup
from wgfleet.panel.vault import Vault
from wgfleet.protocol.domains import parse_domain, refuse_single_label
from wgfleet.protocol.reasons import Reason, words_of


@dataclass(frozen=True, slots=True)
class DnsSpec:
    """How a name is to be published. `record_name` None: the group's domain. `options` None: those of before.

    `fields`: the body's own names for fields that did not come from `dns`.
    """

    provider: str
    zone: str | None = None
    record_name: str | None = None
    mode: DnsMode = DnsMode.SYNC
    drift: OnDrift = OnDrift.REPAIR
    options: Mapping[str, Any] | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Say what is published where, without the options."""
        return f"DnsSpec({self.provider!r}, {self.zone!r}, {self.record_name!r})"

    def path(self, name: str) -> str:
        """Return the path of a field in the body that it came from."""
        return self.fields.get(name, f"dns.{name}")


def apply(vault: Vault, plugins: DnsPlugins, group: EndpointGroup, spec: DnsSpec | None) -> None:
    """Set the group's columns of DNS, or name the first field that is wrong; domain and TTL are set already."""
    if spec is None:
        group.dns_provider = group.dns_zone = group.dns_record_name = group.dns_options_sealed = None
        group.dns_mode, group.dns_drift = DnsMode.SYNC, OnDrift.REPAIR
        return
    plugins.require(spec.provider)
    kept = options(vault, group) if (group.dns_provider, group.dns_zone) == (spec.provider, spec.zone) else {}
    given = plugins.canonical(spec.provider, plugins.with_kept(spec.provider, spec.options, kept))
    record_name = None if spec.record_name is None else parse_domain(spec.record_name, spec.path("record_name"))
    if record_name is not None and record_name != group.dns_record_name:
        refuse_single_label(record_name, spec.path("record_name"))
    plugins.check_name(spec.provider, given, record_name or group.domain, spec.path("record_name"))
    _check_ttl(group.ttl, _capabilities(plugins, spec, given), spec.provider)
    group.dns_provider, group.dns_zone, group.dns_record_name = spec.provider, spec.zone, record_name
    group.dns_mode, group.dns_drift = spec.mode, spec.drift
    group.dns_options_sealed = sealed.seal_options(vault, EndpointGroup.dns_options_sealed, group.config_id, given)


def _capabilities(plugins: DnsPlugins, spec: DnsSpec, given: Mapping[str, Any]) -> Capabilities:
    try:
        provider = plugins.open(spec.provider, spec.zone or "", given)
    except PermanentError as error:
        raise Invalid(words_of(error), field=spec.path("zone")) from None
    try:
        return provider.capabilities
    finally:
        provider.close()


def _check_ttl(ttl: int, can: Capabilities, provider: str) -> None:
    if ttl == AUTOMATIC_TTL_S and can.automatic_ttl:
        return
    if not can.min_ttl <= ttl <= can.max_ttl:
        automatic = Reason(", or 1 for its own choice") if can.automatic_ttl else ""
        raise Invalid(
            Reason(
                "{provider} takes {min_ttl} to {max_ttl} s{automatic}, not {ttl}",
                provider=provider,
                min_ttl=can.min_ttl,
                max_ttl=can.max_ttl,
                automatic=automatic,
                ttl=ttl,
            ),
            field="ttl",
        )


def options(vault: Vault, group: EndpointGroup) -> dict[str, Any]:
    """Return a group's options with their secrets."""
    return sealed.unseal_options(vault, EndpointGroup.dns_options_sealed, group)


def shown(vault: Vault, plugins: DnsPlugins, group: EndpointGroup) -> dict[str, Any] | None:
    """Return what a group says of DNS as it may be shown; None where nothing is published."""
    if group.dns_provider is None:
        return None
    return {
        "provider": group.dns_provider,
        "zone": group.dns_zone,
        "record_name": name_of(group),
        "mode": group.dns_mode,
        "drift": group.dns_drift,
        "options": plugins.shown(group.dns_provider, options(vault, group)),
    }
