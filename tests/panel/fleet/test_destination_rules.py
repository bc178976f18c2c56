"""Destination rules as values: the first that fits decides, the nearest set counts, and what a change takes is said."""

import ipaddress
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.domain.destination_changes import lost
from wgfleet.panel.domain.destination_rules import IPAddress, UserConnection, allows, parse, place_of
from wgfleet.panel.domain.held_settings import HeldSettings, nearest
from wgfleet.protocol.destinations import DestinationPlace, DestinationRule, DestinationTransport, RuleSet, check_rules

P, T = DestinationPlace, DestinationTransport
NETWORKS = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/0", "fd00::/8", "fd00:1::/32", "::/0")
ADDRESSES: tuple[IPAddress, ...] = tuple(
    ipaddress.ip_address(text)
    for text in ("10.0.0.1", "10.1.0.1", "10.1.2.3", "192.0.2.1", "fd00:1::1", "fd00:9::1", "2001:db8::1")
)
PORTS = ("22", "80-443", "443")


@st.composite
def rules(draw: st.DrawFn) -> DestinationRule:
    transport = draw(st.sampled_from(T))
    return DestinationRule(
        allow=draw(st.booleans()),
        networks=tuple(draw(st.lists(st.sampled_from(NETWORKS), max_size=2, unique=True))),
        transport=transport,
        ports=tuple(draw(st.lists(st.sampled_from(PORTS), max_size=2))) if transport in {T.TCP, T.UDP} else (),
        place=draw(st.sampled_from(P)),
    )


SETS = st.none() | st.builds(
    RuleSet, st.just("guests"), st.lists(rules(), max_size=4).map(tuple), otherwise_allowed=st.booleans()
)
CONNECTIONS = [
    UserConnection(address, transport, port, place)
    for address, transport, port, place in itertools.product(
        ADDRESSES, T, (1, 22, 100, 443, 65535), (P.USERS, P.NODE, P.OUTSIDE)
    )
]


@given(SETS, SETS)
def test_a_loss_is_said_just_where_a_connection_was_let_through_and_is_no_more(
    before: RuleSet | None, after: RuleSet | None
) -> None:
    is_lost = any(allows(before, each) and not allows(after, each) for each in CONNECTIONS)
    assert bool(lost(before, after)) is is_lost


@given(SETS)
def test_the_first_rule_that_fits_decides(held_to: RuleSet | None) -> None:
    for connection in CONNECTIONS[::7]:
        alone = [
            allows(RuleSet("one", (rule,), otherwise_allowed=not rule.allow), connection)
            for rule in (held_to.rules if held_to else ())
        ]
        rules_that_fit = [
            rule.allow for rule, said in zip(held_to.rules if held_to else (), alone, strict=True) if said is rule.allow
        ]
        default = held_to is None or held_to.otherwise_allowed
        assert allows(held_to, connection) is (rules_that_fit[0] if rules_that_fit else default)


VALUES = st.none() | st.sampled_from(["", "guests", "servers"])


@given(st.lists(st.builds(HeldSettings, rule_set=VALUES, download_speed=st.none() | st.just(0)), max_size=5))
def test_the_nearest_that_says_anything_counts_also_where_it_says_none(layers: list[HeldSettings]) -> None:
    for name in ("rule_set", "download_speed"):
        said = [value for each in layers if (value := getattr(each, name)) is not None]
        assert getattr(nearest(layers), name) == (said[0] if said else None)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ((DestinationRule(allow=False, place=P.USERS),), ["everything to other users"]),
        (
            (DestinationRule(allow=False, networks=("10.0.0.0/8", "fd00::/8")),),
            ["everything to 10.0.0.0/8, fd00::/8"],
        ),
        (
            (DestinationRule(allow=False, transport=T.TCP, ports=("25", "465-466"), place=P.OUTSIDE),),
            ["tcp/25, tcp/465-466 to what is outside"],
        ),
        (
            (DestinationRule(allow=True, networks=("192.0.2.0/24",)), DestinationRule(allow=False)),
            ["everything to all IPv4 addresses but 192.0.2.0/24, all IPv6 addresses"],
        ),
        (
            (DestinationRule(allow=True, transport=T.TCP, ports=("443",)), DestinationRule(allow=False)),
            ["tcp but for 443; udp; icmp; other protocols to anywhere"],
        ),
        (
            tuple(DestinationRule(allow=False, networks=(f"10.{i}.0.0/16",)) for i in range(0, 20, 2)),
            ["everything to 10.0.0.0/16, 10.2.0.0/16, 10.4.0.0/16, 10.6.0.0/16 and 6 more networks"],
        ),
    ],
)
def test_a_loss_is_said_in_few_words(after: tuple[DestinationRule, ...], said: list[str]) -> None:
    assert lost(None, RuleSet("guests", after)) == said
    assert lost(RuleSet("guests", after), None) == []


def test_sets_that_are_too_large_to_be_compared_are_said_to_be() -> None:
    many = tuple(
        DestinationRule(
            allow=i % 2 == 0, transport=T.TCP, ports=tuple(str(1 + i * 15 + k) for k in range(15)),
            networks=(f"10.{i}.0.0/16",),
        )
        for i in range(100)
    )  # fmt: skip
    wide = tuple(DestinationRule(allow=False, ports=(str(i),), transport=T.UDP) for i in range(1, 100))
    assert lost(RuleSet("a", many), RuleSet("b", wide)) == ["more than can be compared"]


def test_an_address_is_the_nodes_a_users_or_outside() -> None:
    of_users = [ipaddress.ip_network(text) for text in ("10.8.0.0/16", "fd08::/64")]
    where = [place_of(text, ["10.8.0.1"], of_users) for text in ("10.8.0.1", "fd08::2", "1.1.1.1")]
    assert where == [P.NODE, P.USERS, P.OUTSIDE]


def test_what_people_write_is_parsed_into_what_nodes_take() -> None:
    rule = {"allow": False, "networks": [], "transport": "any", "ports": [], "place": "anywhere"}
    networks = [" 10.8.0.1", "10.8.0.1/32", "FD00:0::1", "\ufeff10.0.0.0/8 "]
    written = [rule, {**rule, "networks": networks, "transport": "tcp", "ports": ["443", "443-443", "80-90"]}]
    found = parse(written)
    check_rules(found, "rules")
    assert found[1].networks == ("10.8.0.1/32", "fd00::1/128", "10.0.0.0/8")
    assert found[1].ports == ("443", "80-90")
