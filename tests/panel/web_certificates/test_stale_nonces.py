"""A call whose nonce the CA does not know any more is made again, and no other."""

import pytest
import requests
from acme import client, messages

from wgfleet.panel.acme_network import TRIES, PatientNetwork


@pytest.mark.parametrize(
    ("code", "refused", "calls"), [("badNonce", TRIES - 1, TRIES), ("badNonce", TRIES, TRIES), ("rateLimited", 1, 1)]
)
def test_a_stale_nonce_is_no_refusal(monkeypatch: pytest.MonkeyPatch, code: str, refused: int, calls: int) -> None:
    made: list[str] = []

    def post(_network: client.ClientNetwork, url: str) -> requests.Response:
        made.append(url)
        if len(made) <= refused:
            raise messages.Error.with_code(code)
        return requests.Response()

    monkeypatch.setattr(client.ClientNetwork, "post", post)
    if refused == calls:
        with pytest.raises(messages.Error):
            PatientNetwork().post("https://ca.example/order")
    else:
        PatientNetwork().post("https://ca.example/order")
    assert made == ["https://ca.example/order"] * calls
