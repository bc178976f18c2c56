"""What is known of processes without asking them."""

import os
import socket

import pytest

from wgfleet.lab.processes import listens


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_is_listened_on_until_the_socket_is_closed(family: socket.AddressFamily, address: str) -> None:
    """Not for as long as its process is seen to be in the namespace: that ends a moment before."""
    with socket.socket(family) as opened:
        opened.bind((address, 0))
        port = opened.getsockname()[1]
        assert not listens(os.getpid(), port)
        opened.listen()
        assert listens(os.getpid(), port)
    assert not listens(os.getpid(), port)
