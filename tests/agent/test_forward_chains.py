"""Rules as iptables-nft makes them, listed by nft 1.0.6: what is sure of them, and what is not."""

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


TCP_ONLY = {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}}
WEB_ONLY = {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 443}}
NO_UDP = {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "udp"}}


@pytest.mark.parametrize("only", [TCP_ONLY, WEB_ONLY])
def test_a_chain_that_lets_tcp_pass_is_no_fault(only: dict[str, Any]) -> None:
    assert not is_dropped(OUT, ("", [only, ACCEPT]))
    assert is_dropped(OUT, ("", [only, {"drop": None}]))
    assert is_dropped(OUT, ("", [NO_UDP, {"drop": None}]), ("", [TCP_ONLY, {"drop": None}]))


def table(*rows: dict[str, Any], **of_table: object) -> list[dict[str, Any]]:
    """List a table whose chain drops all that is forwarded."""
    chain = {"family": "ip", "table": "filter", "name": "through", "hook": "forward", "policy": "drop"}
    return [{"table": {"family": "ip", "name": "filter", "handle": 1, **of_table}}, {"chain": chain}, *rows]


def drops(*rows: dict[str, Any], **of_table: object) -> bool:
    return dropping(parse({"nftables": table(*rows, **of_table)}), OUT) is not None


@pytest.mark.parametrize("flags", ["dormant", ["dormant"], ["owner", "dormant"], "Lester Gooch #5", "t", 7])
def test_a_table_that_may_be_out_of_use_is_no_fault(flags: object) -> None:
    """What nft 1.0.6 prints for `dormant` is what happens to be in its memory."""
    assert not drops(flags=flags)


def test_a_table_that_a_program_owns_is_in_use() -> None:
    assert drops()
    assert drops(flags="owner")
    assert drops(flags=["owner", "persist"])


def test_chains_that_are_jumped_to_again_and_again_are_judged_once() -> None:
    """By each way to it, the last of these would be judged eight to the power of 15 times."""
    rows: list[dict[str, Any]] = [
        {"chain": {"family": "ip", "table": "filter", "name": f"deep{level}"}} for level in range(16)
    ]
    for level, chain in enumerate(["through", *(f"deep{level}" for level in range(15))]):
        jump = [COUNTER, {"jump": {"target": f"deep{level}"}}]
        rows += [
            {"rule": {"family": "ip", "table": "filter", "chain": chain, "handle": handle, "expr": jump}}
            for handle in range(8)
        ]
    assert drops(*rows)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from(["match", "jump", "goto", "xt", "vmap", "counter", "accept"])
ROWS = st.dictionaries(st.sampled_from(["table", "chain", "rule", "set", "metainfo"]), JSON, max_size=2)


@given(JSON | st.builds(dict, nftables=JSON | st.lists(ROWS)), st.text())
def test_a_listing_in_a_form_that_is_not_known_is_read_as_none(listed: Any, text: str) -> None:
    assert dropping(parse(listed, text), OUT) is None


@given(JSON | st.dictionaries(WORDS, JSON, max_size=2))
def test_a_rule_in_a_form_that_is_not_known_may_do_anything(term: Any) -> None:
    known = {"family": "ip", "table": "filter", "chain": "through", "handle": 9}
    dropping(parse({"nftables": table({"rule": {**known, "expr": [term]}})}), OUT)
    if not isinstance(term, dict):
        assert not drops({"rule": {**known, "expr": [term]}})


@given(st.sampled_from(["left", "right", "op"]), JSON)
def test_so_may_one_that_compares_in_a_form_that_is_not_known(where: str, value: Any) -> None:
    match = {**NO_UDP["match"], where: value}
    rule = {"family": "ip", "table": "filter", "chain": "through", "handle": 9, "expr": [{"match": match}, ACCEPT]}
    dropping(parse({"nftables": table({"rule": rule})}), OUT)
