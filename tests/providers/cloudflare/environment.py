"""The stand-in as the contract suite's environment: one zone, one token that may all it must."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import SecretStr, TypeAdapter

from tests.providers.cloudflare.models import Post
from tests.providers.cloudflare.server import StandIn, running
from tests.providers.cloudflare.zones import Batch, Token, Zone
from wgfleet.panel.dns.providers import Provider
from wgfleet.panel.dns.providers.cloudflare import Cloudflare, CloudflareOptions
from wgfleet.testing.dns_provider import TTL_S

ZONE = "example.com"
ZONE_ID = "023e105f4ecef8ad9ca31a8372d0c353"
SECRET = "Sx-secret-token-of-the-stand-in-0123456789"  # noqa: S105 - the stand-in's own; opens nothing
_POST: TypeAdapter[object] = TypeAdapter(Post)


class CloudflareEnvironment:
    """A stand-in that runs; what it plants, it plants into the zone's rows."""

    zone = ZONE
    secret = SECRET

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self.rows = stand_in.api.zones[ZONE_ID]
        self.token = stand_in.api.tokens[SECRET]

    def provider(
        self, token: str = SECRET, *, zone: str = ZONE_ID, url: str | None = None, timeout_s: float = 20.0
    ) -> Provider:
        options = CloudflareOptions(token=SecretStr(token), api_url=url or self.stand_in.url, timeout_s=timeout_s)
        return Cloudflare(zone, options)

    def refused(self) -> Provider:
        """The same token, revoked."""
        self.token.status = "disabled"
        return self.provider()

    def unreachable(self) -> Provider:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
        return self.provider(url=f"http://127.0.0.1:{port}/client/v4")

    def plant(
        self,
        name: str,
        type_: str,
        content: str,
        *,
        proxied: bool = False,
        comment: str | None = None,
        ttl: int = TTL_S,
    ) -> str:
        """Put a record of somebody else there; return its id."""
        wanted = {"name": name, "type": type_, "content": content, "ttl": ttl, "proxied": proxied, "comment": comment}
        if type_ == "MX":
            priority, wanted["content"] = content.split()
            wanted["priority"] = int(priority)
        done = self.rows.run(Batch(posts=[_POST.validate_json(json.dumps(wanted))]))
        return (done["posts"] or [])[0].id

    def records(self, name: str) -> set[tuple[str, str, int]]:
        return {(row.type, row.content, row.ttl) for row in self.rows.records.values() if row.name == name}


@contextmanager
def cloudflare() -> Iterator[CloudflareEnvironment]:
    """Run a stand-in with one zone and one token."""
    zone = Zone(ZONE_ID, ZONE)
    token = Token("t" * 32, SECRET, {ZONE_ID: {"zone:read", "dns:edit"}})
    with running([zone], [token]) as stand_in:
        yield CloudflareEnvironment(stand_in)
