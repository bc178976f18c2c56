"""Destination rules in the commands: written as lines, given to a peer, a tag and a config, and asked about first."""

import httpx
import pytest

from tests.cli.conftest import Run
from tests.cli.test_commands import document
from tests.panel.conftest import made
from wgfleet.protocol.destination_words import rule_of, rule_text

LINES = [
    "allow tcp/443,8000-8100 192.0.2.0/24,2001:db8::/32 outside",
    "deny udp node",
    "allow icmp",
    "deny users",
    "deny 10.0.0.0/8",
    "allow",
]


@pytest.mark.parametrize("line", LINES)
def test_a_rule_is_the_line_that_says_it(line: str) -> None:
    assert rule_text(rule_of(line)) == line


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "neither allow nor deny"),
        ("permit users", "neither allow nor deny"),
        ("allow sctp", "'sctp' is neither a protocol"),
        ("deny users node", "says place twice"),
        ("deny tcp udp", "says transport twice"),
        ("deny 10.0.0.0/8 fd00::/8", "join networks by commas"),
    ],
)
def test_a_line_that_says_no_rule_is_refused_in_words(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rule_of(line)


@pytest.mark.slow
def test_sets_are_made_given_asked_about_and_taken_back(wgfleet: Run, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    created = wgfleet("rule-set", "create", "guests", "--rule", LINES[0], "--rule", "deny users", "--json")
    assert len(document(created)["rules"]) == 2
    assert wgfleet("peer", "create", "wg0", "anna").returncode == 0
    refused = wgfleet("config", "update", "wg0", "--rule-set", "guests")
    assert refused.returncode == 2
    assert "1 peer of 'wg0' no longer reaches" in refused.stderr
    assert (
        document(wgfleet("config", "update", "wg0", "--rule-set", "guests", "--yes", "--json"))["rule_set"] == "guests"
    )
    assert "guests (config)" in wgfleet("peer", "show", "wg0/anna").stdout
    assert LINES[0] in wgfleet("rule-set", "show", "guests").stdout
    assert wgfleet("rule-set", "delete", "guests").returncode == 1
    refused = wgfleet("rule-set", "update", "guests", "--add-rule", "deny outside")
    assert (refused.returncode, "no longer reaches" in refused.stderr) == (2, True)
    changed = wgfleet("rule-set", "update", "guests", "--otherwise", "deny", "--rule", "allow node", "--yes", "--json")
    assert (document(changed)["otherwise_allowed"], len(document(changed)["rules"])) == (False, 1)
    listed = wgfleet("rule-sets", "list")
    assert "guests" in listed.stdout
    assert wgfleet("tag", "create", "free", "--rule-set", "").returncode == 0
    assert wgfleet("tag", "give", "free", "wg0/anna").returncode == 2, "it opens what was closed"
    assert wgfleet("tag", "give", "free", "wg0/anna", "--yes").returncode == 0
    assert document(wgfleet("peer", "show", "wg0/anna", "--json"))["rule_set"] is None
    asked = wgfleet("tag", "delete", "free")
    assert (asked.returncode, "no longer reaches" in asked.stderr) == (2, True)
    assert wgfleet("tag", "delete", "free", "--yes").returncode == 0
    assert wgfleet("peer", "update", "wg0/anna", "--rule-set", "").returncode == 2, "that opens what was closed"
    assert wgfleet("peer", "update", "wg0/anna", "--rule-set", "", "--yes").returncode == 0
    assert wgfleet("config", "update", "wg0", "--rule-set", "", "--yes").returncode == 0
    assert wgfleet("rule-set", "delete", "guests", "--yes").returncode == 0
    wrong = wgfleet("rule-set", "create", "more", "--rule", "allow tcp/80 10.0.0.1/8")
    assert (wrong.returncode, "the network is 10.0.0.0/8" in wrong.stderr) == (1, True)
    wrong = wgfleet("peer", "update", "wg0/anna", "--rule-set", "nobody")
    assert "wgfleet rule-set list" in wrong.stderr
