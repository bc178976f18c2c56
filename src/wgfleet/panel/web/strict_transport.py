"""Strict-Transport-Security: for which answers browsers are asked to come by https alone from then on.

Who heeds it cannot click a warning away any more, so it is said for the public address alone, and only where its
certificate is one that browsers accept: of a public CA, from files, or of a trusted proxy. Where the panel's own CA
issues it, which every browser warns of, and by plain HTTP, nothing is said.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from wgfleet.panel.door import VISIT as CONNECTION
from wgfleet.panel.settings import Settings
from wgfleet.panel.web.visitors import is_secure

HEADER = "Strict-Transport-Security"
HALF_A_YEAR = "max-age=15768000"  # of this host, and of no other below it


class StrictTransport:
    """Decides by the settings, and by how a request came."""

    def __init__(self, settings: Settings) -> None:
        public = urlsplit(settings.public_url or "")
        self._host = public.hostname if public.scheme == "https" else None
        self._own = settings.tls.certificate_file is not None or self._host in settings.acme_names()

    def value(self, scope: Scope) -> str | None:
        """Return what the answer to a request says; None: nothing."""
        if self._host is None or not is_secure(scope):
            return None
        try:
            asked = urlsplit(f"//{Headers(scope=scope).get('host', '')}").hostname
        except ValueError:
            return None
        connection = scope.get("state", {}).get(CONNECTION)
        accepted = self._own or (connection is not None and connection.of_trusted_proxy)
        return HALF_A_YEAR if accepted and asked == self._host else None
