"""Whether a network is free: the same answer as asking each that is taken."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.domain.taken_networks import TakenNetworks

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks() -> st.SearchStrategy[Network]:
    """Networks of both versions from a narrow range, so that many overlap."""
    v4 = st.tuples(st.integers(0, 2**12 - 1), st.integers(20, 32)).map(
        lambda drawn: ipaddress.IPv4Network(((10 << 24) + drawn[0], drawn[1]), strict=False)
    )
    v6 = st.tuples(st.integers(0, 2**10 - 1), st.integers(118, 128)).map(
        lambda drawn: ipaddress.IPv6Network(((0xFD << 120) + drawn[0], drawn[1]), strict=False)
    )
    return st.one_of(v4, v6, st.sampled_from([ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]))


@given(st.lists(st.tuples(networks(), st.booleans()), max_size=40))
def test_a_network_is_taken_where_one_that_was_taken_overlaps_it(wanted: list[tuple[Network, bool]]) -> None:
    taken: dict[Network, str] = {}
    index = TakenNetworks()
    for number, (network, returned) in enumerate(wanted):
        in_the_way = {
            str(other): owner
            for other, owner in taken.items()
            if other.version == network.version and other.overlaps(network)
        }
        found = index.take(network, f"owner {number}")
        if found is None:
            assert not in_the_way
            taken[network] = f"owner {number}"
        else:
            assert in_the_way[found.network] == found.owner
        index.release(network, "somebody else")
        if returned and network in taken:
            index.release(network, taken.pop(network))
    assert len(index) == len(taken)
