"""Calls are divided so that one host is called from one address at a time."""

from hypothesis import given
from hypothesis import strategies as st

from wgfleet.agent.interfaces.takeover import PeerCall, by_source
from wgfleet.protocol.keys import PublicKey

calls = st.lists(
    st.builds(
        PeerCall,
        endpoint=st.sampled_from(["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "[2001:db8::1]:1"]),
        source=st.sampled_from([None, "198.18.0.100", "198.18.0.101"]),
    ),
    max_size=20,
).map(lambda made: {PublicKey(str(i)): call for i, call in enumerate(made)})


@given(calls)
def test_every_peer_is_called_once_and_in_each_round_from_its_own_source(made: dict[PublicKey, PeerCall]) -> None:
    rounds = by_source(made)
    assert sorted(key for each in rounds for key in each.peers) == sorted(made)
    for each in rounds:
        for key in each.peers:
            host = made[key].endpoint.rpartition(":")[0].strip("[]")
            assert each.sources.get(host) == made[key].source


def test_users_at_different_addresses_are_called_in_one_round() -> None:
    made = {PublicKey(str(i)): PeerCall(f"192.0.2.{i}:1", "198.18.0.100") for i in range(9)}
    assert len(by_source(made)) == 1
