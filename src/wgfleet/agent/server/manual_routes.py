"""Routes for people with curl: read an interface, change it by hand. The panel uses none of them.

A change keeps the interface's generation, so the panel's next generation replaces it; each answer says so.
"""

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from wgfleet.agent.interfaces import admission
from wgfleet.agent.interfaces.admission import RefusedError
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.interfaces.supervisor import InterfaceSupervisor
from wgfleet.agent.interfaces.watch_board import MAX_DRIFT
from wgfleet.agent.server import wg_quick
from wgfleet.agent.server.http import answer, decode, interface_name, read_body
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, check_peer
from wgfleet.protocol.diff import SECRET, Drift
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PublicKey, parse_public_key
from wgfleet.protocol.messages import Applied, Refusal
from wgfleet.protocol.observed import PeerStats

_NOTE = "changed by hand: the panel's next generation replaces this"


class ByHand(Struct, frozen=True):
    """Answer to a change by hand."""

    applied: Applied
    note: str = _NOTE


class ManualPeerView(Struct, frozen=True):
    """A peer without its secrets."""

    allowed_ips: tuple[str, ...]
    persistent_keepalive: int
    has_preshared_key: bool
    stats: PeerStats


class InterfaceView(Struct, frozen=True):
    """`GET /v1/wg/{if}`: the desired state, without secrets, and how the machine differs."""

    name: InterfaceName
    config_id: ConfigId
    generation: Generation
    listen_port: int
    addresses: tuple[str, ...]
    routes: tuple[str, ...]
    mtu: int | None
    masquerade: bool
    enabled: bool
    floating: tuple[str, ...]
    up: bool
    summary: str
    drift: tuple[Drift, ...]
    peers: dict[PublicKey, ManualPeerView]


class ManualPeer(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /v1/wg/{if}/peers`."""

    public_key: PublicKey
    peer: DesiredPeer


class ManualRoutes:
    """Handlers of the routes."""

    def __init__(self, supervisor: InterfaceSupervisor) -> None:
        self._supervisor = supervisor

    def routes(self) -> list[Route]:
        """Return the routes."""
        one = "/v1/wg/{name}"
        return [
            Route(one, self.get, methods=["GET"]),
            Route(f"{one}/dump", self.dump, methods=["GET"]),
            Route(f"{one}/config", self.get_config, methods=["GET"]),
            Route(f"{one}/config", self.put_config, methods=["PUT"]),
            Route(f"{one}/enable", self.enable, methods=["POST"]),
            Route(f"{one}/disable", self.disable, methods=["POST"]),
            Route(f"{one}/syncconf", self.sync, methods=["POST"]),
            Route(f"{one}/peers", self.add_peer, methods=["POST"]),
            Route(f"{one}/peers/{{key:path}}", self.put_peer, methods=["PUT"]),
            Route(f"{one}/peers/{{key:path}}", self.remove_peer, methods=["DELETE"]),
        ]

    def _reconciler(self, request: Request) -> InterfaceReconciler:
        return self._supervisor.reconciler(interface_name(request))

    async def get(self, request: Request) -> Response:
        """`GET /v1/wg/{name}`."""
        reconciler = self._reconciler(request)
        settings, idle = reconciler.desired.settings, PeerStats()
        peers = {
            key: ManualPeerView(
                peer.allowed_ips,
                peer.persistent_keepalive,
                peer.preshared_key is not None,
                reconciler.stats.get(key, idle),
            )
            for key, peer in reconciler.desired.peers.items()
        }
        return answer(
            InterfaceView(
                name=reconciler.name,
                config_id=reconciler.config_id,
                generation=reconciler.generation,
                listen_port=settings.listen_port,
                addresses=settings.addresses,
                routes=settings.routes,
                mtu=settings.mtu,
                masquerade=settings.masquerade,
                enabled=settings.enabled,
                floating=reconciler.held or (),
                up=reconciler.up,
                summary=reconciler.summary,
                drift=reconciler.drift[:MAX_DRIFT],
                peers=peers,
            )
        )

    async def dump(self, request: Request) -> Response:
        """`GET /v1/wg/{name}/dump`: as `wg show IF dump`, with `(secret)` in place of keys that are not public."""
        reconciler = self._reconciler(request)
        async with self._supervisor.machine.reading(reconciler.name) as reading:
            lines = [f"{SECRET}\t{reading.device.listen_port}"]
            async for blocks in reading.blocks:
                for block in blocks:
                    seen = reading.form.peer(block)
                    stats, peer = seen.stats or PeerStats(), seen.observed
                    fields = (
                        seen.key,
                        SECRET if peer.preshared_key else "(none)",
                        stats.endpoint or "(none)",
                        ",".join(sorted(peer.allowed_ips)) or "(none)",
                        str(stats.latest_handshake),
                        str(stats.rx),
                        str(stats.tx),
                        str(peer.persistent_keepalive or "off"),
                    )
                    lines.append("\t".join(fields))
        return PlainTextResponse("\n".join(lines) + "\n")

    async def get_config(self, request: Request) -> Response:
        """`GET /v1/wg/{name}/config`: the only answer that contains secrets."""
        return PlainTextResponse(
            wg_quick.render(self._reconciler(request).desired), headers={"cache-control": "no-store"}
        )

    async def put_config(self, request: Request) -> Response:
        """`PUT /v1/wg/{name}/config`."""
        try:
            text = (await read_body(request)).decode()
        except UnicodeDecodeError:
            raise FieldError("body", "is not UTF-8 text") from None
        return await self._change(request, lambda held: wg_quick.parse(text, held))

    async def enable(self, request: Request) -> Response:
        """`POST /v1/wg/{name}/enable`."""
        return await self._set_enabled(request, enabled=True)

    async def disable(self, request: Request) -> Response:
        """`POST /v1/wg/{name}/disable`: takes the link down and keeps its peers."""
        return await self._set_enabled(request, enabled=False)

    async def _set_enabled(self, request: Request, *, enabled: bool) -> Response:
        return await self._change(
            request,
            lambda held: msgspec.structs.replace(
                held, settings=msgspec.structs.replace(held.settings, enabled=enabled)
            ),
        )

    async def sync(self, request: Request) -> Response:
        """`POST /v1/wg/{name}/syncconf`: check everything now, and repair it."""
        return await self._change(request, lambda held: held)

    async def add_peer(self, request: Request) -> Response:
        """`POST /v1/wg/{name}/peers`."""
        new = decode(await read_body(request), ManualPeer)
        return await self._put(request, new.public_key, new.peer)

    async def put_peer(self, request: Request) -> Response:
        """`PUT /v1/wg/{name}/peers/{key}`."""
        return await self._put(
            request, PublicKey(request.path_params["key"]), decode(await read_body(request), DesiredPeer)
        )

    async def _put(self, request: Request, key: PublicKey, peer: DesiredPeer) -> Response:
        check_peer(key, peer, "public_key")
        return await self._change(request, lambda held: msgspec.structs.replace(held, peers={**held.peers, key: peer}))

    async def remove_peer(self, request: Request) -> Response:
        """`DELETE /v1/wg/{name}/peers/{key}`."""
        key = parse_public_key(request.path_params["key"])

        def without(held: DesiredInterface) -> DesiredInterface:
            if key not in held.peers:
                raise RefusedError(_no_peer(held.settings.name, key))
            return msgspec.structs.replace(held, peers={k: p for k, p in held.peers.items() if k != key})

        return await self._change(request, without)

    async def _change(self, request: Request, change: Callable[[DesiredInterface], DesiredInterface]) -> Response:
        return answer(ByHand(await asyncio.shield(self._supervisor.change(interface_name(request), change))))


def _no_peer(name: InterfaceName, key: PublicKey) -> Refusal:
    found = admission.not_found(name)
    return msgspec.structs.replace(found, title="no such peer", detail=f"interface {name} has no peer {key}")
