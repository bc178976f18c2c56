"""Settings of DNS: how names are published, checked and retried."""

from pydantic import Field, SecretStr

from wgfleet.panel.settings.fields import DAY_S, Group


class DnsSettings(Group):
    """How the names of endpoint groups are published."""

    cloudflare_token: SecretStr | None = Field(
        default=None,
        description="API token for Cloudflare, with DNS:Edit on the zones, for endpoint groups that have none of their "
        "own. Rather give it in the environment than in this file.",
    )
    cloudflare_url: str = Field(
        default="https://api.cloudflare.com/client/v4",
        pattern=r"^https?://[^?#\s]+$",
        description="Where that token is sent to: another address is for a gateway, or a stand-in in tests.",
    )
    check_interval_s: float = Field(
        default=60,
        ge=1,
        le=DAY_S,
        description="Seconds between two looks at a name that is as it should be: as long may a change by somebody "
        "else go unseen. Each look is one call of the provider.",
    )
    gather_s: float = Field(
        default=0.2,
        ge=0,
        le=60,
        description="Seconds for which addresses to be added are gathered, so that several cost one change. Nothing "
        "that is to be removed waits for it.",
    )
    retry_cap_s: float = Field(
        default=300,
        ge=1,
        le=DAY_S,
        description="Seconds between two tries at most while a provider fails; they begin at 1 and double. There is no "
        "last try.",
    )
    approval_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="A deletion of more than this share of a name's records waits for an administrator's approval, "
        "unless people removed those nodes. 1: never. That most of a large fleet dies at once is rather our mistake.",
    )
    approval_records: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Records that such a deletion has at least. In a small fleet two dead nodes of three go by "
        "themselves: each was found dead by most of those who look, and min_nodes is kept.",
    )
    save_check_s: float = Field(
        default=3,
        ge=0,
        le=30,
        description="Seconds that saving an endpoint group waits for the provider to say whether zone and credential "
        "are right; what it says later shows at the name. 0: it is not asked.",
    )
