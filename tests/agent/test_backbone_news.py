"""What nodes tell each other of users: only once the node that tells it has routes to match."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from wgfleet.agent.interfaces.backbone import BackboneWatch
from wgfleet.agent.interfaces.whereabouts import Whereabouts
from wgfleet.protocol.keys import PublicKey

KEY = PublicKey("x" * 42 + "A=")
NETWORKS = ("10.8.0.2/32",)


def test_a_node_has_its_own_routes_before_the_others_send_to_it() -> None:
    done: list[str] = []

    class Routes:
        async def follow(self) -> None:
            await asyncio.sleep(0.01)
            done.append("routes")

        def take_arrived(self) -> list[str]:
            return []

    async def run() -> None:
        reconciler = SimpleNamespace(
            name="wg0", stats={}, desired=SimpleNamespace(peers={KEY: SimpleNamespace(allowed_ips=NETWORKS)})
        )
        watch = cast("Any", BackboneWatch(cast("Any", reconciler), cast("Any", None)))
        vars(watch).update(
            _where=Whereabouts(1, 1, lambda _key, claimed: claimed),
            _reached=frozenset({2}),
            _routes=Routes(),
            _socket=SimpleNamespace(send=lambda number, _message: done.append(f"news to {number}")),
        )
        following = asyncio.create_task(watch._follow())  # noqa: SLF001 - the order of its steps, without a kernel
        watch.seen([KEY], surely=True)
        await asyncio.sleep(0.1)
        following.cancel()

    asyncio.run(run())
    assert done == ["routes", "news to 2"]
