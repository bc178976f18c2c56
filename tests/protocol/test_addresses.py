import ipaddress
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.protocol.strategies import addresses, canonical, interface_addresses, networks
from wgfleet.protocol.addresses import (
    address_of,
    join_endpoint,
    parse_address,
    parse_endpoint,
    parse_interface_address,
    parse_network,
    parse_port,
    split_endpoint,
)
from wgfleet.protocol.domains import parse_domain
from wgfleet.protocol.errors import FieldError

ports = st.integers(1, 65535)
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@given(addresses)
def test_every_spelling_of_an_address_gives_the_canonical_one(address: IpAddress) -> None:
    for spelling in (str(address), address.exploded, address.exploded.upper()):
        assert parse_address(spelling, "address") == canonical(address)


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("::FFFF:C000:201", "::ffff:192.0.2.1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
    ],
)
def test_ipv6_is_written_as_the_kernel_prints_it(spelling: str, expected: str) -> None:
    assert parse_address(spelling, "address") == expected


@pytest.mark.parametrize(
    "bad", ["", "10.0.0", "10.0.0.256", "10.0.0.01", "10.0.0.1/32", ":::", "vpn.example.com", "\u0661.1.1.1"]
)
def test_what_is_no_address_is_refused_with_the_field(bad: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse_address(bad, "nodes[2].address")
    assert caught.value.field == "nodes[2].address"
    assert repr(bad) in caught.value.detail


@pytest.mark.parametrize(
    ("parse", "zoned"),
    [
        (parse_address, "fe80::1%eth0"),
        (parse_network, "fe80::%eth0/64"),
        (parse_network, "fe80::1%eth0/128"),
        (parse_interface_address, "fe80::1%eth0/64"),
    ],
)
def test_a_zone_is_refused_and_not_dropped(parse: object, zoned: str) -> None:
    assert callable(parse)
    with pytest.raises(FieldError, match="has a zone"):
        parse(zoned, "address")


@given(networks())
def test_a_canonical_network_is_kept_as_it_is(network: str) -> None:
    assert parse_network(network, "network") == network


@given(addresses)
def test_the_quick_path_of_host_networks_agrees_with_ipaddress(address: IpAddress) -> None:
    for spelling in (str(address), address.exploded):
        expected = f"{canonical(address)}/{address.max_prefixlen}"
        assert parse_network(f"{spelling}/{address.max_prefixlen}", "network") == expected
        assert parse_network(spelling, "network") == expected


@given(st.text(max_size=20), st.sampled_from(["/32", "/128", ""]))
def test_no_text_makes_the_quick_path_accept_what_ipaddress_refuses(junk: str, prefix: str) -> None:
    try:
        parsed = parse_network(junk + prefix, "network")
    except FieldError:
        return
    assert ipaddress.ip_network(parsed) == ipaddress.ip_network(junk + prefix)


@given(networks(), st.data())
def test_host_bits_are_refused_and_the_network_is_named(network: str, data: st.DataObject) -> None:
    parsed = ipaddress.ip_network(network)
    assume(parsed.num_addresses > 1)
    offset = data.draw(st.integers(1, parsed.num_addresses - 1))
    slip = f"{canonical(parsed.network_address + offset)}/{parsed.prefixlen}"
    with pytest.raises(FieldError, match="has host bits set; the network is") as caught:
        parse_network(slip, "pools[0]")
    assert str(parsed) in caught.value.detail


@given(interface_addresses())
def test_a_canonical_interface_address_is_kept_as_it_is(text: str) -> None:
    assert parse_interface_address(text, "address") == text


def test_a_netmask_is_turned_into_a_prefix_length() -> None:
    assert parse_interface_address("10.8.0.1/255.255.255.0", "address") == "10.8.0.1/24"


@pytest.mark.parametrize(("bare", "example"), [("10.8.0.1", "10.8.0.1/24"), ("fd00::1", "fd00::1/64")])
def test_an_interface_address_without_prefix_is_refused_with_an_example(bare: str, example: str) -> None:
    with pytest.raises(FieldError, match=f"write for example {example}$"):
        parse_interface_address(bare, "addresses[0]")


@pytest.mark.parametrize("port", [-1, 0, 65536, 2**40])
def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(FieldError, match=f"^listen_port: must be a port from 1 to 65535, not {port}$"):
        parse_port(port, "listen_port")


@given(addresses, ports)
def test_an_endpoint_splits_into_what_it_was_joined_from(address: IpAddress, port: int) -> None:
    joined = join_endpoint(canonical(address), port)
    assert split_endpoint(joined) == (address_of(joined), port) == (canonical(address), port)
    assert parse_endpoint(joined) == joined


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "192.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:-1",
        "192.0.2.1:+1",
        "192.0.2.1:٣",
        "192.0.2.1:" + "1" * 5000,
        "2001:db8::1:51820",
        "[2001:db8::1]",
        "[fe80::1%eth0]:51820",
        "vpn.example.com:51820",
        "192.0.2.1 :51820",
    ],
)
def test_what_is_no_endpoint_is_refused_with_the_field(bad: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse_endpoint(bad, "peers[0].endpoint")
    assert caught.value.field == "peers[0].endpoint"


@given(st.text(max_size=60))
def test_parsers_raise_nothing_but_field_errors(junk: str) -> None:
    for parse in (parse_address, parse_network, parse_interface_address, parse_domain, parse_endpoint):
        with suppress(FieldError):
            parse(junk, "field")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vpn.example.com", "vpn.example.com"),
        ("VPN.Example.COM.", "vpn.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("_wg.example.com", "_wg.example.com"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_a_domain_is_lower_case_punycode_without_the_last_dot(name: str, expected: str) -> None:
    assert parse_domain(name, "domain") == expected


@pytest.mark.parametrize(
    "bad",
    [
        "",
        ".",
        "a..b",
        "example.com..",
        "-a.example",
        "a-.example",
        "a b.example",
        "vpn.example.com:51820",
        "a" * 64 + ".example",
        ".".join(["a" * 60] * 5),
        "ü" * 80,
        "203.0.113.7",
        "*.example.com",
        "vpn.example.com\n.de",
    ],
)
def test_what_is_no_domain_is_refused(bad: str) -> None:
    with pytest.raises(FieldError, match=r"^domain: "):
        parse_domain(bad, "domain")


@pytest.mark.parametrize("around", [" {}", "{}\r\n", "\ufeff{}", "\t{} "])
def test_what_was_copied_along_with_a_value_is_dropped(around: str) -> None:
    assert parse_address(around.format("203.0.113.7"), "f") == "203.0.113.7"
    assert parse_network(around.format("10.8.0.0/24"), "f") == "10.8.0.0/24"
    assert parse_domain(around.format("vpn.example.com"), "f") == "vpn.example.com"


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("203.0.113.7:51820", "without port: 203.0.113.7"),
        ("[2001:db8::7]:51820", "without port: 2001:db8::7"),
        ("[2001:db8::7]", "without brackets: 2001:db8::7"),
        ("203.0.113.7/32", "without prefix length: 203.0.113.7"),
        ("2001:db8::7/64", "without prefix length: 2001:db8::7"),
        ("banana:1", "is not an IPv4 or IPv6 address"),
    ],
)
def test_an_address_with_more_than_that_is_refused_with_what_it_has_too_much(text: str, way_out: str) -> None:
    with pytest.raises(FieldError) as refused:
        parse_address(text, "f")
    assert refused.value.detail.endswith(way_out)


@pytest.mark.parametrize("text", ["vpn.example.com:51820", "https://vpn.example.com", "vpn.example.com/"])
def test_a_name_with_more_than_that_is_refused_with_what_to_leave_out(text: str) -> None:
    with pytest.raises(FieldError, match="without scheme, port or path"):
        parse_domain(text, "f")
