"""What helps where a panel's certificate is not accepted, or the agent's directory is root's: said in one line."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from wgfleet.agent.enrollment.ca import ways_out
from wgfleet.cli import app

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


@pytest.mark.parametrize("command", [["status"], ["forget", "--yes"], ["leave", "--yes"]])
def test_a_directory_that_is_for_root_alone_is_said_to_be_so(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # as for anybody but root
    ended = CliRunner().invoke(app, ["agent", *command, "--state-dir", str(tmp_path)])
    assert ended.exit_code == 1
    assert ended.stderr == f"error: {tmp_path} is for root alone; run it as root\n"
