"""What helps where a panel's certificate is not accepted: said by the command line and by agents that enroll."""

import pytest

from wgfleet.agent.enrollment.ca import ways_out

PANEL = "https://203.0.113.7:8443"


@pytest.mark.parametrize(
    ("reason", "pinned", "said"),
    [
        (
            "IP address mismatch, certificate is not valid for '203.0.113.7'. (_ssl.c:1018)",
            True,
            "`--name 203.0.113.7`",
        ),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] Hostname mismatch, certificate is not valid for 'x'", False, "tls.names"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate in certificate chain", False, "--ca-fingerprint"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] unable to get local issuer certificate", True, "log in again"),
    ],
)
def test_a_certificate_that_is_refused_names_what_to_set(reason: str, pinned: bool, said: str) -> None:
    found = ways_out(PANEL, reason, pinned=pinned)
    assert found is not None
    assert said in found


def test_other_failures_are_none_of_certificates() -> None:
    assert ways_out(PANEL, "[Errno 111] Connection refused", pinned=False) is None
