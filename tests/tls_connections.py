"""Connections of asyncio's TLS that this process holds in memory: what a stranger cost is seen by them."""

import gc
from asyncio import sslproto
from collections.abc import Iterator
from contextlib import contextmanager


def kept() -> int:
    """Return how many there are, those that wait for the collector among them."""
    return sum(isinstance(each, sslproto.SSLProtocol) for each in gc.get_objects())


@contextmanager
def uncollected() -> Iterator[int]:
    """Have the collector stand still; yield how many are kept at the beginning."""
    gc.collect()
    gc.disable()
    try:
        yield kept()
    finally:
        gc.enable()
