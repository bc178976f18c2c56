"""UDP ports of configs, of their users and of their backbones: no two configs have one, for a node may serve both."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from wgfleet.panel.domain import backbone
from wgfleet.panel.errors import Conflict, Exhausted
from wgfleet.panel.store import Tx
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import relays as relay_rows
from wgfleet.panel.store.tables import Config
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.addresses import LAST_PORT
from wgfleet.protocol.backbone import NEWS_PORT
from wgfleet.protocol.reasons import Reason

FIRST_PORT = 51820  # the customary one of WireGuard


def check_is_free(tx: Tx, listen_port: int, config_id: str = "") -> None:
    """Refuse a port that another config, or agents, use on its nodes."""
    if listen_port == NEWS_PORT:
        raise Conflict(
            Reason(
                "agents speak with each other at UDP port {listen_port} of a node's end of a backbone; choose another",
                listen_port=listen_port,
            ),
            field="listen_port",
        )
    owner = _backbone_ports(config_rows.backbone_ports(tx, config_id)).get(listen_port)
    if owner is not None:
        raise Conflict(
            Reason(
                "the backbone of config {owner!r} uses UDP port {listen_port}, and a node may serve both; choose "
                "another",
                owner=owner,
                listen_port=listen_port,
            ),
            field="listen_port",
        )
    other = config_rows.by_port(tx, listen_port)
    if other is not None:
        raise Conflict(
            Reason(
                "config {other!r} already listens on port {listen_port}, and a node may serve both; choose another",
                other=other.name,
                listen_port=listen_port,
            ),
            field="listen_port",
        )


def _backbone_ports(of_configs: Iterable[tuple[str, int, bool, int | None]]) -> dict[int, str]:
    """Return the UDP ports of backbones, each with the name of its config. `of_configs`: as from their rows."""
    found: dict[int, str] = {}
    for name, listen_port, on, own_port in of_configs:
        if on:
            port = backbone.port(listen_port, own_port)
            found |= dict.fromkeys((port, backbone.tunnel_port(port)), name)
    return found


def check_backbone(tx: Tx, config: Config, changed: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Refuse ports of a backbone that a config has already."""

    def value(name: str) -> Any:
        return changed.get(name, getattr(config, name))

    if not value("backbone"):
        return
    port = backbone.port(value("listen_port"), value("backbone_port"))
    others = config_rows.backbone_ports(tx, config.id)
    listening = {listen_port: name for name, listen_port, _, _ in others}
    taken = {**listening, value("listen_port"): config.name, **_backbone_ports(others)}
    if NEWS_PORT in {port, backbone.tunnel_port(port), value("listen_port")}:
        raise Conflict(
            Reason(
                "agents speak with each other at UDP port {port} of a node's end of a backbone, so neither its config "
                "nor its links can have that; they would have {links} and, inside of the links, {inside}",
                port=NEWS_PORT,
                links=port,
                inside=backbone.tunnel_port(port),
            ),
            field="backbone_port" if value("listen_port") != NEWS_PORT else "listen_port",
        )
    for each in (port, backbone.tunnel_port(port)):
        if each in taken:
            raise Conflict(
                Reason(
                    "the backbone of config {config!r} would use UDP port {each}, which config {holder!r} has; "
                    "choose another backbone_port",
                    config=config.name,
                    each=each,
                    holder=taken[each],
                ),
                field="backbone_port",
            )


def free(tx: Tx) -> int:
    """Return the first port from the customary one on that no config has."""
    rows = config_rows.backbone_ports(tx, "")
    taken = {NEWS_PORT} | {listen_port for _, listen_port, _, _ in rows} | _backbone_ports(rows).keys()
    for port in range(FIRST_PORT, LAST_PORT + 1):
        if port not in taken:
            return port
    raise Exhausted(
        Reason("every port from {first_port} up is in use; choose a lower listen_port", first_port=FIRST_PORT),
        field="listen_port",
    )


def changed(tx: Tx, config_id: str) -> None:
    """Have relays led to the ports at which nodes of a config are now."""
    for node_id in relay_rows.nodes_with(tx, config_id):
        tx.wake(Topic.RELAY, node_id)
