"""The calls to a CA that issues certificates by ACME; loaded by those who have such a certificate."""

from typing import Any

import requests
from acme import client, messages

TRIES = 8  # of two each, by the library


class PatientNetwork(client.ClientNetwork):
    """Makes a call again whose nonce the CA does not know any more, as RFC 8555, section 6.5 wants.

    The library does so once. To begin again with the whole order would leave another TXT record for each try.
    """

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a signed call; raise what the library raises."""
        for _ in range(TRIES - 1):
            try:
                return super().post(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*args, **kwargs)
