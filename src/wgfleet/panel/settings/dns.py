"""Settings of DNS: how names are published, checked and retried."""

from pydantic import Field, SecretStr

from wgfleet.panel.settings.fields import DAY_S, Group


class DnsSettings(Group):
    """How the names of endpoint groups are published."""

    cloudflare_token: SecretStr | None = Field(
        default=None,
        description="API token for Cloudflare, with DNS:Edit on the zones, for endpoint groups without a token of "
        "their own. Better set in the environment than in this file.",
    )
    cloudflare_url: str = Field(
        default="https://api.cloudflare.com/client/v4",
        pattern=r"^https?://[^?#\s]+$",
        description="API to which that token is sent; another address is for a gateway, or a stand-in in tests.",
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
