"""Short fields of an endpoint group: the zone's id and the record's name, for a `dns` with one provider."""

import re
from types import MappingProxyType

from wgfleet.panel.errors import Invalid
from wgfleet.panel.services.dns.settings import DnsSpec
from wgfleet.panel.store.tables import EndpointGroup
from wgfleet.protocol.reasons import Reason

PROVIDER = "cloudflare"
ZONE, RECORD_NAME = "cloudflare_zone_id", "cloudflare_record_name"
_FIELDS = MappingProxyType({"zone": ZONE, "record_name": RECORD_NAME})
_ZONE_ID = re.compile(r"[0-9A-Za-z]{1,32}")  # published schema: an identifier of at most 32 characters


def expand(zone: str | None, record_name: str | None, dns: DnsSpec | None) -> DnsSpec | None:
    """Return what the two fields stand for; `dns` if neither is given."""
    if zone is None and record_name is None:
        return dns
    if dns is not None:
        raise Invalid(
            Reason(
                "{zone} is shorthand for dns.provider={provider}; set one or the other", zone=ZONE, provider=PROVIDER
            ),
            field=ZONE,
        )
    if zone is None or not _ZONE_ID.fullmatch(zone):
        raise Invalid(Reason("must be the zone's id as its overview shows it, up to 32 letters and digits"), field=ZONE)
    return DnsSpec(PROVIDER, zone, record_name, fields=_FIELDS)


def shown(group: EndpointGroup) -> dict[str, str | None]:
    """Return the two fields of a group that is published by their provider; none for others."""
    return {ZONE: group.dns_zone, RECORD_NAME: group.dns_record_name} if group.dns_provider == PROVIDER else {}
