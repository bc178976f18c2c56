"""Settings of DNS: how names are published, checked and retried."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from wgfleet.panel.settings.fields import DAY_S, Domains, Group, Servers, worded


class DnsSettings(Group):
    """How the names of endpoint groups are published."""

    cloudflare_token: SecretStr | None = Field(
        default=None,
        description="API token for Cloudflare, with DNS:Edit on the zones, for endpoint groups without a token of "
        "their own. Better set in the environment than in this file.",
    )
    cloudflare_url: Annotated[str, worded(r"https?://[^?#\s]+", "a URL that begins with https:// or http://")] = Field(
        default="https://api.cloudflare.com/client/v4",
        description="API to which that token is sent; another address is for a gateway, or a stand-in in tests.",
    )
    cloudflare_domains: Domains = Field(
        default=(),
        description="Domains below which endpoint groups may publish with that token; others need a token of their "
        "own. Empty: whatever the token can edit, so that a key with the scope `write` can publish at any free name "
        "in its zones.",
    )
    allowed_servers: Servers = Field(
        default=(),
        description="Networks, addresses and names of servers inside, such as 10.0.0.0/8 or ns1.example.internal, to "
        "which DNS providers may connect although they are not on the internet. Options of an endpoint group, which "
        "a key with the scope `write` sets, cannot name any other.",
    )
    check_interval_s: float = Field(
        default=60,
        ge=1,
        le=DAY_S,
        description="Seconds between two checks of a name for drift, so the longest that a change by somebody else "
        "goes unseen. Each check is one call of the provider.",
    )
    gather_s: float = Field(
        default=0.2,
        ge=0,
        le=60,
        description="Seconds for which new addresses are gathered, so that several cost one change. Removals do not "
        "wait.",
    )
    retry_cap_s: float = Field(
        default=300,
        ge=1,
        le=DAY_S,
        description="Longest time between two attempts while a provider fails; it begins at 1 s and doubles. Attempts "
        "never end.",
    )
    approval_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="A deletion of more than this share of a name's records waits for an administrator's approval, "
        "unless operators removed those nodes. 1: never. If most of a large fleet seems to die at once, the mistake "
        "is more likely ours.",
    )
    approval_records: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Smallest number of records for which such a deletion waits. In a small fleet two dead nodes of "
        "three are removed without approval: most vantage points missed each, and min_nodes is kept.",
    )
    save_check_s: float = Field(
        default=3,
        ge=0,
        le=30,
        description="Seconds that saving an endpoint group waits for the provider to say whether zone and credential "
        "are right; later answers show at the name. 0: it is not asked.",
    )

    @property
    def reachable(self) -> tuple[str, ...]:
        """Servers that are not on the internet and may be connected to: those allowed, and the panel's own."""
        own = urlsplit(self.cloudflare_url).hostname
        return (*self.allowed_servers, own) if own else self.allowed_servers

    @property
    def own_domains(self) -> tuple[str, ...]:
        """Domains below which the panel's own credential may be used; none: anywhere."""
        return self.cloudflare_domains

    @property
    def unlimited(self) -> str:
        """What to say of a credential that everybody may use everywhere; empty if there is none."""
        if self.cloudflare_token is None or self.cloudflare_domains:
            return ""
        return (
            "keys with the scope `write` can publish at any free name in the zones that dns.cloudflare_token can edit; "
            "dns.cloudflare_domains limits it"
        )
