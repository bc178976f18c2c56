"""Which TCP connections nodes tell each other of, and which are ended when their users come."""

import ipaddress

import pytest

from wgfleet.agent.interfaces.flows_elsewhere import CHALLENGES_S, SLICE, FlowsElsewhere, choose, parts
from wgfleet.protocol.backbone import MAX_DATAGRAM, MAX_FLOWS, Flows, decode, encode
from wgfleet.protocol.flow_owners import Users


def flow(user: str, port: int = 1000, server: str = "203.0.113.9") -> bytes:
    ends = (ipaddress.ip_address(user).packed, port.to_bytes(2), ipaddress.ip_address(server).packed)
    return b"".join((*ends, (443).to_bytes(2)))


def due(elsewhere: FlowsElsewhere, now: float) -> list[bytes]:
    return [each for some in elsewhere.take_due(now) for each in some]


ANNA, BERT, SITE, ANNA6 = (
    flow("10.8.0.2"),
    flow("10.8.0.3"),
    flow("192.168.7.20"),
    flow("fd08::2", server="2001:db8::9"),
)


def test_the_flows_of_who_has_come_are_challenged_and_no_others() -> None:
    elsewhere = FlowsElsewhere()
    elsewhere.heard(1, Flows(1, (ANNA, BERT)), 0.0)
    elsewhere.heard(2, Flows(9, (SITE, ANNA6)), 0.0)
    assert due(elsewhere, 1.0) == []
    elsewhere.arrived(["10.8.0.2/32", "fd08::2/128", "192.168.7.0/24"], 1.0)
    assert set(due(elsewhere, 1.0)) == {ANNA, ANNA6, SITE}
    assert due(elsewhere, 1.0) == []
    assert set(due(elsewhere, elsewhere.next_at())) == {ANNA, ANNA6, SITE}


def test_what_a_node_says_after_its_user_has_come_counts() -> None:
    elsewhere = FlowsElsewhere()
    elsewhere.arrived(["10.8.0.2/32"], 1.0)
    assert due(elsewhere, 1.0) == []
    elsewhere.heard(1, Flows(1, (ANNA,)), 1.1)
    assert due(elsewhere, 1.0 + CHALLENGES_S[-1]) == [ANNA]


def test_a_list_of_which_a_part_is_lost_costs_nothing_and_two_do() -> None:
    elsewhere = FlowsElsewhere()
    elsewhere.heard(1, Flows(1, (ANNA,)), 0.0)
    elsewhere.heard(1, Flows(2, (BERT,)), 2.0)
    elsewhere.arrived(["10.8.0.2/32"], 3.0)
    assert due(elsewhere, 3.0) == [ANNA]
    elsewhere.heard(1, Flows(3, ()), 4.0)
    assert due(elsewhere, 5.0) == []


def test_a_node_that_says_too_much_or_nonsense_costs_a_user_little() -> None:
    elsewhere = FlowsElsewhere()
    for listing in (1, 2):
        for first in range(0, MAX_FLOWS + 9, 100):
            ports = range(listing * 10_000 + first, listing * 10_000 + first + 100)
            elsewhere.heard(1, Flows(listing, (b"thirteenbytes", *(flow("10.8.0.2", port) for port in ports))), 0.0)
    elsewhere.heard(2, Flows(1, (ANNA,)), 0.0)
    elsewhere.arrived(["10.8.0.0/16"], 1.0)
    found = due(elsewhere, 1.0)
    assert ANNA in found
    assert len(found) <= 64 + 1
    of_many = (flow(str(ipaddress.ip_address("10.9.0.0") + number)) for number in range(MAX_FLOWS + 9))
    elsewhere.heard(1, Flows(3, tuple(of_many)), 1.0)
    assert len(elsewhere) == MAX_FLOWS + 1


def test_a_user_who_is_claimed_and_given_back_again_and_again_is_challenged_as_one_who_came_once() -> None:
    elsewhere = FlowsElsewhere()
    elsewhere.heard(1, Flows(1, (ANNA,)), 0.0)
    times = [tick / 10 for tick in range(int(10 * CHALLENGES_S[-1]) + 1)]
    challenged = 0
    for now in times:
        elsewhere.arrived(["10.8.0.2/32"], now)
        challenged += len(due(elsewhere, now))
    assert challenged == len(CHALLENGES_S)
    elsewhere.arrived(["10.8.0.2/32"], 9.0)
    assert due(elsewhere, 9.0) == [ANNA], "one who comes again later is challenged again"


def test_many_who_come_at_once_are_looked_through_a_few_at_a_time() -> None:
    elsewhere = FlowsElsewhere()
    elsewhere.heard(1, Flows(1, (ANNA, BERT)), 0.0)
    elsewhere.arrived([f"10.8.{number // 250}.{number % 250}/32" for number in range(5 * SLICE)], 1.0)
    slices = list(elsewhere.take_due(1.0))
    assert len(slices) == 5
    assert sorted(each for some in slices for each in some) == sorted([ANNA, BERT])


def test_nobody_who_came_to_a_config_that_ends_no_connections_is_due() -> None:
    elsewhere = FlowsElsewhere()
    elsewhere.heard(1, Flows(1, (ANNA,)), 0.0)
    elsewhere.arrived(["10.8.0.2/32"], 1.0)
    elsewhere.drop_due()
    assert elsewhere.next_at() == float("inf")
    elsewhere.arrived(["10.8.0.2/32"], 2.0)
    assert due(elsewhere, 2.0) == [ANNA]


@pytest.mark.parametrize("text", ["10.8.0.0/16", "10.8.0.2/32", "fd08::/64", "fd08::2/128", "0.0.0.0/0", "::/0"])
def test_a_set_of_networks_has_what_is_in_them(text: str) -> None:
    network = ipaddress.ip_network(text)
    users = Users([text, "192.0.2.0/31"])
    for address in ("10.8.0.2", "10.8.255.255", "10.9.0.0", "fd08::2", "fd08:0:0:1::", "::"):
        assert users.has(ipaddress.ip_address(address).packed) == (ipaddress.ip_address(address) in network)


def test_where_there_are_too_many_those_that_last_are_told_and_no_user_hides_others() -> None:
    of_one = [flow("10.8.0.9", port) for port in range(1, 5000)]
    of_many = [flow(str(ipaddress.ip_address("10.9.0.0") + number)) for number in range(MAX_FLOWS)]
    chosen = choose([*of_one, *of_many, ANNA], told={ANNA})
    assert chosen[0] == ANNA
    assert len(chosen) == MAX_FLOWS
    assert len(set(chosen) & set(of_one)) < 100


def test_each_part_of_a_list_fits_a_datagram() -> None:
    flows = [*(flow("10.8.0.2", port) for port in range(300)), *(flow("fd08::2", port, "::1") for port in range(300))]
    sent = [encode(part) for part in parts(7, flows)]
    assert max(map(len, sent)) <= MAX_DATAGRAM + 30
    back = [decode(each) for each in sent]
    assert [each for part in back if isinstance(part, Flows) for each in part.flows] == flows
    assert parts(8, []) == [Flows(8)]
