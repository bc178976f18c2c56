"""Systems that vouch for people: OpenID Connect and LDAP, asked over the network. No rows, no decisions on users."""

from wgfleet.panel.errors import Unauthorized


class IdentityRefused(Unauthorized):
    """A provider does not vouch for somebody, or not in a way that counts. `reason` is for the log."""

    def __init__(self, detail: str, reason: str) -> None:
        super().__init__(detail)
        self.reason = reason
