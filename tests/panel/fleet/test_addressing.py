"""Arithmetic of pools, against the standard library's."""

import ipaddress
import re
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.domain import addressing
from wgfleet.protocol.addresses import parse_address, parse_network


@st.composite
def networks(draw: st.DrawFn) -> str:
    address = draw(st.ip_addresses())
    length = draw(st.integers(0, address.max_prefixlen))
    return parse_network(str(ipaddress.ip_network((address, length), strict=False)), "network")


@given(networks(), st.data())
def test_offset_and_address_are_each_others_inverse(network: str, data: st.DataObject) -> None:
    first, last = addressing.first_offset(network), addressing.last_offset(network)
    if first > last:
        assert addressing.capacity(network) == 0
        return
    offset = data.draw(st.integers(first, last))
    address = addressing.address_at(network, offset)
    assert ipaddress.ip_address(address) in ipaddress.ip_network(network)
    assert parse_address(address, "address") == address
    assert addressing.offset_of(network, address) == offset


@given(st.integers(22, 32), st.sampled_from(["10.8.0.0", "255.255.252.0"]))
def test_peers_of_an_ipv4_pool_get_every_host_address_but_the_first(length: int, base: str) -> None:
    network = f"{base}/{length}"
    first, last = addressing.first_offset(network), addressing.last_offset(network)
    mine = [addressing.address_at(network, offset) for offset in range(first, last + 1)]
    hosts = [str(host) for host in ipaddress.ip_network(network).hosts()]
    assert [addressing.gateway(network), *mine] == hosts
    assert addressing.capacity(network) == len(mine)


@pytest.mark.parametrize(
    ("network", "gateway", "capacity"),
    [
        ("10.8.0.0/24", "10.8.0.1", 253),
        ("10.8.0.0/30", "10.8.0.1", 1),
        ("10.8.0.0/31", "10.8.0.0", 1),
        ("10.8.0.0/32", "10.8.0.0", 0),
        ("fd00::/120", "fd00::1", 254),
        ("fd00::/127", "fd00::", 1),
        ("fd00::/128", "fd00::", 0),
        ("fd00::/64", "fd00::1", 2**62 - 1),
        ("fd00::/8", "fd00::1", 2**62 - 1),
    ],
)
def test_the_node_has_the_first_host_address_and_peers_the_others(network: str, gateway: str, capacity: int) -> None:
    assert addressing.gateway(network) == gateway
    assert addressing.capacity(network) == capacity


@given(networks(), st.data())
def test_a_chosen_address_of_the_node_is_no_peers_and_all_other_hosts_are(network: str, data: st.DataObject) -> None:
    last = addressing.last_offset(network)
    at = data.draw(st.integers(addressing.gateway_offset(network), max(last, addressing.gateway_offset(network))))
    server = addressing.server_address(network, addressing.address_at(network, at))
    assert (server is None) is (at == addressing.gateway_offset(network))
    assert addressing.gateway(network, server) == addressing.address_at(network, at)
    assert addressing.gateway_offset(network, server) == at
    with pytest.raises(ValueError, match="own address"):
        addressing.offset_of(network, addressing.address_at(network, at), server)
    if addressing.capacity(network):
        first = addressing.first_offset(network, server)
        assert first != at
        assert addressing.offset_of(network, addressing.address_at(network, first), server) == first


@pytest.mark.parametrize("address", ["10.8.0.0", "10.8.0.255", "10.8.1.1", "fd00::5"])
def test_an_address_that_no_node_can_have_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=re.escape(address)):
        addressing.server_address("10.8.0.0/24", address)


@given(networks(), st.ip_addresses())
def test_an_address_that_no_peer_may_have_is_refused_by_name(network: str, value: ipaddress.IPv4Address) -> None:
    address = parse_address(str(value), "address")
    offset = int(value) - int(ipaddress.ip_network(network).network_address)
    if value in ipaddress.ip_network(network) and (
        addressing.first_offset(network) <= offset <= addressing.last_offset(network)
    ):
        assert addressing.offset_of(network, address) == offset
    else:
        with pytest.raises(ValueError, match=re.escape(address)) as refusal:
            addressing.offset_of(network, address)
        assert network in str(refusal.value)


@given(networks(), networks())
def test_overlap_and_containment_are_those_of_the_standard_library(first: str, second: str) -> None:
    one, other = ipaddress.ip_network(first), ipaddress.ip_network(second)
    assert addressing.overlaps(first, second) == one.overlaps(other)
    within = one.version == other.version and one.overlaps(other) and one.prefixlen <= other.prefixlen
    assert addressing.contains(first, second) == within


@given(networks(), st.integers(0, 8))
def test_slices_are_the_subnets_in_order(network: str, more: int) -> None:
    value = ipaddress.ip_network(network)
    length = min(value.prefixlen + more, value.max_prefixlen)
    wanted = [parse_network(str(subnet), "network") for subnet in value.subnets(new_prefix=length)]
    assert list(addressing.slices(network, length)) == wanted


def test_slices_of_a_huge_network_come_one_at_a_time() -> None:
    first = list(islice(addressing.slices("fd00::/8", 128), 3))
    assert first == ["fd00::/128", "fd00::1/128", "fd00::2/128"]


@pytest.mark.parametrize("length", [15, 33])
def test_slices_larger_than_the_network_or_smaller_than_an_address_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="use /16 to /32"):
        addressing.slices("10.8.0.0/16", length)


def test_networks_sort_ipv4_first_then_by_number() -> None:
    mixed = ["fd00::/64", "10.8.0.0/16", "9.0.0.0/8", "2001:db8::/32"]
    assert sorted(mixed, key=addressing.order) == ["9.0.0.0/8", "10.8.0.0/16", "2001:db8::/32", "fd00::/64"]
