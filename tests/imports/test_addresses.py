"""What a server sends to a peer: the peer's own addresses, and the networks behind it."""

import pytest

from wgfleet.imports.addresses import divided

INTERFACE = ("10.8.0.1/24", "fd08::1/64")


@pytest.mark.parametrize(
    ("allowed", "own", "behind"),
    [
        (["10.8.0.2/32", "fd08::2/128"], ("10.8.0.2", "fd08::2"), ()),
        (["10.8.0.2"], ("10.8.0.2",), ()),
        (["10.8.0.2/24"], ("10.8.0.2",), ()),
        (["fd08::2/64", "10.8.0.130/25"], ("fd08::2", "10.8.0.130"), ()),
        (["10.8.0.2/32", "192.168.7.0/24", "192.168.8.1/24"], ("10.8.0.2",), ("192.168.7.0/24", "192.168.8.0/24")),
        (["10.8.0.0/24"], (), ("10.8.0.0/24",)),
        (["192.168.7.4/32", "0.0.0.0/0", "::/0"], (), ("192.168.7.4/32", "0.0.0.0/0", "::/0")),
    ],
)
def test_hosts_of_the_interface_are_its_own_with_whatever_prefix(
    allowed: list[str], own: tuple[str, ...], behind: tuple[str, ...]
) -> None:
    assert divided(allowed, INTERFACE) == (own, behind)


def test_where_nobody_knows_the_networks_of_the_interface_all_hosts_are_its_own() -> None:
    assert divided(["10.8.0.2/32", "192.168.7.5/24"], ()) == (("10.8.0.2",), ("192.168.7.0/24",))
