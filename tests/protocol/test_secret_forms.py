"""Secrets in lines of a log are found by their form; what is none stays readable."""

import json
import time

import pytest

from wgfleet.protocol.secret_forms import HIDDEN, without_secrets

KEY = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="


@pytest.mark.parametrize(
    "line",
    [
        f"PrivateKey = {KEY}",
        f"wg: PresharedKey={KEY}",
        json.dumps({"event": "x", "private_key": KEY}),
        json.dumps({"event": json.dumps({"preshared_key": KEY})}),
        f"{{'psk': '{KEY}'}}",
        f"refused wgf_{KEY[:40].replace('+', '-')}",
        f"wgfleet agent enroll --token wgj_{KEY[:40].replace('+', '-')}",
        f"password={KEY} user=anna",
        f"Authorization: Bearer {KEY}",
        f"GET https://anna:{KEY[:12]}@example.com/x",
        f"-----BEGIN EC PRIVATE KEY-----\\n{KEY}\\n-----END EC PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\\n{KEY}",
    ],
)
def test_a_secret_is_hidden(line: str) -> None:
    shown = without_secrets(line)
    assert KEY[:7] not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    "line",
    [
        f'{{"event": "peer.added", "public_key": "{KEY}", "interface": "wg0"}}',
        '{"event": "join token: expired", "path": "/var/lib/wgfleet/agent.key"}',
        "wg0: 3 peers, https://panel.example.com:8443/api/nodes/x@y",
        "the bearer of bad news",
    ],
)
def test_what_is_no_secret_stays(line: str) -> None:
    assert without_secrets(line) == line


@pytest.mark.parametrize(
    "part", ["a.", "a-", "://", "a://b:", "psk ", "token\\", "-----BEGIN PRIVATE KEY", "bearer ", ":"]
)
@pytest.mark.parametrize("end", ["", '"', " ="])
def test_a_line_of_a_hostile_machine_takes_time_by_its_length_only(part: str, end: str) -> None:
    began = time.monotonic()
    for line in (part * 20_000, f"authorization:{' ' * 20_000}{part}", f"{part}{' ' * 20_000}"):
        without_secrets(f"{line}{end}")
    assert time.monotonic() - began < 1, "a line of 4,096 characters took 50 ms, and a log has 1,000"
