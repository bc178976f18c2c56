"""Rules as iptables-nft makes them, listed by nft 1.0.6: what is sure of them, and what is not."""

from ipaddress import ip_network
from typing import Any

import pytest

from wgfleet.agent.interfaces.forward_chains import Packet, dropping, parse

USERS = ip_network("10.8.0.0/16")
OUT = Packet("wg0", "eth0", USERS, None, "new")
BACK = Packet("eth0", "wg0", None, USERS, "established")
CONNTRACK = {"xt": {"type": "match", "name": "conntrack"}}
COUNTER = {"counter": {"packets": 0, "bytes": 0}}
ACCEPT: dict[str, Any] = {"accept": None}


Rule = tuple[str, list[dict[str, Any]]]  # as text, and as JSON


def is_dropped(packet: Packet, *rules: Rule) -> bool:
    chain = {"family": "ip", "table": "filter", "name": "FORWARD", "type": "filter", "hook": "forward"}
    listed: list[dict[str, Any]] = [{"chain": {**chain, "policy": "drop"}}]
    text = "table ip filter { # handle 1\n\tchain FORWARD { # handle 1\n"
    for handle, (words, terms) in enumerate(rules, 3):
        listed.append(
            {"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": handle, "expr": terms}}
        )
        text += f"\t\t{words} # handle {handle}\n"
    return dropping(parse({"nftables": listed}, text), packet) is not None


def link(key: str, name: str) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": name}}


ANSWERS: Rule = ("ct state related,established counter packets 0 bytes 0 accept", [CONNTRACK, COUNTER, ACCEPT])
PINGS: Rule = (
    "meta l4proto icmp icmp type echo-request counter packets 0 bytes 0 accept",
    [link("l4proto", "icmp"), {"xt": {"type": "match", "name": "icmp"}}, COUNTER, ACCEPT],
)
LOG: Rule = (
    'limit rate 3/minute counter packets 0 bytes 0 log prefix "x"',
    [{"limit": {"rate": 3, "burst": 5, "per": "minute"}}, COUNTER, {"xt": {"type": "target", "name": "LOG"}}],
)


def test_the_rules_of_ufw_drop_what_users_begin_and_pass_answers() -> None:
    assert is_dropped(OUT, ANSWERS, PINGS, LOG)
    assert not is_dropped(BACK, ANSWERS, PINGS, LOG)


def test_a_rule_for_users_lets_them_pass() -> None:
    users: Rule = ('iifname "wg0" counter packets 0 bytes 0 accept', [link("iifname", "wg0"), COUNTER, ACCEPT])
    assert not is_dropped(OUT, ANSWERS, PINGS, LOG, users)
    assert is_dropped(BACK, users)


@pytest.mark.parametrize(
    "rule",
    [
        ("ct state new counter packets 0 bytes 0 accept", [CONNTRACK, COUNTER, ACCEPT]),
        ("ct state established ct direction reply accept", [CONNTRACK, COUNTER, ACCEPT]),
        ("# xt_conntrack accept", [CONNTRACK, COUNTER, ACCEPT]),
        ("# xt_set accept", [{"xt": {"type": "match", "name": "set"}}, ACCEPT]),
        ("# xt_NFQUEUE", [{"xt": {"type": "target", "name": "NFQUEUE"}}]),
        ("# xt", [{"xt": None}, ACCEPT]),
        ("", [{"vmap": {"key": {"meta": {"key": "iifname"}}, "data": "@verdicts"}}]),
        ("", [{"jump": {"target": "elsewhere"}}]),
    ],
)
def test_what_is_not_sure_is_no_fault(rule: Rule) -> None:
    assert not is_dropped(OUT, rule)
    assert is_dropped(OUT, (rule[0], [link("iifname", "docker0"), *rule[1]]))
