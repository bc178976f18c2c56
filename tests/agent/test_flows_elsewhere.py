"""Which TCP connections nodes tell each other of, and which are ended when their users come."""

import ipaddress

from wgfleet.agent.interfaces.flows_elsewhere import CHALLENGES_S, FlowsElsewhere, choose, parts
from wgfleet.protocol.backbone import MAX_DATAGRAM, MAX_FLOWS, Flows, decode, encode


def flow(user: str, port: int = 1000, server: str = "203.0.113.9") -> bytes:
    ends = (ipaddress.ip_address(user).packed, port.to_bytes(2), ipaddress.ip_address(server).packed)
    return b"".join((*ends, (443).to_bytes(2)))


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
    assert elsewhere.take_due(1.0) == []
    elsewhere.arrived(["10.8.0.2/32", "fd08::2/128", "192.168.7.0/24"], 1.0)
    assert set(elsewhere.take_due(1.0)) == {ANNA, ANNA6, SITE}
    assert elsewhere.take_due(1.0) == []
    assert set(elsewhere.take_due(elsewhere.next_at())) == {ANNA, ANNA6, SITE}


def test_what_a_node_says_after_its_user_has_come_counts() -> None:
    elsewhere = FlowsElsewhere()
    elsewhere.arrived(["10.8.0.2/32"], 1.0)
    assert elsewhere.take_due(1.0) == []
    elsewhere.heard(1, Flows(1, (ANNA,)), 1.1)
    assert elsewhere.take_due(1.0 + CHALLENGES_S[-1]) == [ANNA]


def test_a_list_of_which_a_part_is_lost_costs_nothing_and_two_do() -> None:
    elsewhere = FlowsElsewhere()
    elsewhere.heard(1, Flows(1, (ANNA,)), 0.0)
    elsewhere.heard(1, Flows(2, (BERT,)), 2.0)
    elsewhere.arrived(["10.8.0.2/32"], 3.0)
    assert elsewhere.take_due(3.0) == [ANNA]
    elsewhere.heard(1, Flows(3, ()), 4.0)
    assert elsewhere.take_due(5.0) == []


def test_a_node_that_says_too_much_or_nonsense_costs_little() -> None:
    elsewhere = FlowsElsewhere()
    elsewhere.heard(1, Flows(1, (b"thirteenbytes", *(flow("10.8.0.2", port) for port in range(MAX_FLOWS + 9)))), 0.0)
    elsewhere.arrived(["10.8.0.0/16"], 1.0)
    assert len(elsewhere.take_due(1.0)) <= MAX_FLOWS


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
