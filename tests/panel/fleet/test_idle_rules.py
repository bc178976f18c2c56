"""Rules that never count: one before them fits all of theirs, or nobody has such addresses; no others are said."""

from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.panel.conftest import made, one_database
from wgfleet.panel.domain.destination_rules import UserConnection, fits, parse
from wgfleet.panel.domain.idle_rules import idle
from wgfleet.protocol.destinations import DestinationPlace, DestinationTransport, RuleSet
from wgfleet.protocol.errors import FieldError

PLAIN: dict[str, Any] = {"allow": True, "networks": [], "transport": "any", "ports": [], "place": "anywhere"}
NETWORKS = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "::/0", "fd00::/8", "0.0.0.0/1", "128.0.0.0/1"]
PORTS = ["22", "1-1023", "80", "443", "1024-65535"]
ADDRESSES = [
    ip_address(each) for each in ("10.1.2.3", "10.1.9.9", "10.9.9.9", "9.9.9.9", "200.0.0.1", "fd00::1", "2a00::1")
]


def of(*rules: dict[str, Any]) -> RuleSet:
    return RuleSet("x", parse([{**PLAIN, **rule} for rule in rules]), otherwise_allowed=True)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([{}, {"networks": ["10.0.0.0/8"]}], ["rule 2 never counts: rule 1"]),
        (
            [{"networks": ["10.0.0.0/8"]}, {"networks": ["10.1.0.0/16"], "transport": "tcp", "ports": ["22"]}],
            ["rule 2"],
        ),
        ([{"networks": ["10.1.0.0/16"]}, {"networks": ["10.0.0.0/8"]}], []),
        ([{"networks": ["10.0.0.0/9", "10.128.0.0/9"]}, {"networks": ["10.0.0.0/8"]}], ["rule 2"]),
        ([{"transport": "tcp"}, {"transport": "udp"}, {"transport": "any"}], []),
        ([{"transport": "tcp", "ports": ["1-100"]}, {"transport": "tcp", "ports": ["22", "80-90"]}], ["rule 2"]),
        ([{"transport": "tcp", "ports": ["1-100"]}, {"transport": "tcp"}], []),
        ([{"place": "node"}, {}, {"place": "node", "transport": "icmp"}], ["rule 3 never counts: rule 1"]),
        (
            [{"networks": ["fd00::/8"]}, {"networks": ["10.0.0.0/8", "fd00::/8"]}],
            ["rule 1 never counts: no user of wg0"],
        ),
    ],
)
def test_what_never_counts_is_said(rules: list[dict[str, Any]], said: list[str]) -> None:
    found = idle(of(*rules), [("wg0", ["10.8.0.1"])])
    assert len(found) == len(said)
    assert all(one.startswith(other) for one, other in zip(found, said, strict=True)), found
    assert not [each for each in idle(of(*rules), [("wg0", ["10.8.0.1"]), ("wg1", ["fd00::1"])]) if "no user" in each]


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    transport = draw(st.sampled_from(["any", "tcp", "udp", "icmp"]))
    ports = draw(st.lists(st.sampled_from(PORTS), max_size=2)) if transport in {"tcp", "udp"} else []
    networks, place = st.lists(st.sampled_from(NETWORKS), max_size=2), st.sampled_from(["anywhere", "node", "users"])
    return {**PLAIN, "networks": draw(networks), "transport": transport, "ports": ports, "place": draw(place)}


connections = st.builds(
    UserConnection,
    st.sampled_from(ADDRESSES),
    st.sampled_from(DestinationTransport),
    st.sampled_from([22, 80, 443, 1024, 5000]),
    st.sampled_from(DestinationPlace),
)


@given(st.lists(rules(), min_size=1, max_size=6), st.lists(connections, max_size=30))
def test_what_is_said_decides_about_no_connection(
    given_rules: list[dict[str, Any]], tried: list[UserConnection]
) -> None:
    known: list[dict[str, Any]] = []
    for rule in given_rules:
        with suppress(FieldError):  # what is the same once more is refused
            of(*known, rule)
            known.append(rule)
    found = of(*known)
    never = {int(each.split()[1]) for each in idle(found)}
    for connection in tried:
        first = next((n for n, rule in enumerate(found.rules, 1) if fits(rule, connection)), None)
        assert first not in never


@one_database
def test_a_set_says_which_of_its_rules_never_count(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    rules = [{"allow": False, "networks": ["10.0.0.0/8"]}, {"allow": True, "networks": ["10.1.0.0/16"]}]
    found = made(client, "/api/rule-sets", name="guests", rules=[*rules, {"allow": True, "networks": ["fd00::/8"]}])
    assert found["idle"] == ["rule 2 never counts: rule 1 before it fits all of it"]
    assert client.patch("/api/configs/wg0", json={"rule_set": "guests"}).is_success
    made(client, "/api/configs/wg0/peers", name="anna")
    found = client.get("/api/rule-sets/guests").json()
    assert found["idle"][1:] == ["rule 3 never counts: no user of wg0 has an address of IPv6"]
