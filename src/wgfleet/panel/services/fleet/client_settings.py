"""Settings of users' files: those of a peer, of its tags and of its config, checked, and which of them counts."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from wgfleet.panel.domain import client_settings
from wgfleet.panel.domain.client_settings import SETTINGS, InEffect, Layer
from wgfleet.panel.domain.fields import check_range, parse_dns, parse_networks
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import configs
from wgfleet.panel.store.tables import Config, Peer, Tag
from wgfleet.protocol.addresses import parse_port
from wgfleet.protocol.desired import check_mtu
from wgfleet.protocol.quotes import quoted
from wgfleet.protocol.reasons import Reason


class ClientSettings(TypedDict, total=False):
    """Settings of the files of a peer or a tag. None: as the next one says; left out of a change: as it was."""

    client_allowed_ips: Sequence[str] | None
    excluded_networks: Sequence[str] | None
    dns: Sequence[str] | None
    mtu: int | None
    keepalive: int | None
    endpoint_port: int | None


def checked(settings: ClientSettings, networks: Sequence[str] = (), at: str = "") -> dict[str, Any]:
    """Return settings in canonical form, or name the field that is wrong.

    `networks`: pools of the peer's config, where there is one peer. `at`: what the names of fields begin with.
    """
    values: dict[str, Any] = {name: settings[name] for name in SETTINGS if name in settings}  # type: ignore[literal-required]
    for name in ("client_allowed_ips", "excluded_networks"):
        if values.get(name) is not None:
            values[name] = parse_networks(values[name], f"{at}{name}")
    if values.get("client_allowed_ips") == []:
        raise Invalid(
            Reason("give at least one network; 0.0.0.0/0 means everything, null what the tags or the config say"),
            field=f"{at}client_allowed_ips",
        )
    if values.get("dns") is not None:
        values["dns"] = parse_dns(values["dns"], f"{at}dns")
    check_mtu(values.get("mtu"), networks, f"{at}mtu")
    if values.get("keepalive") is not None:
        check_range(values["keepalive"], 0, configs.MAX_KEEPALIVE_S, f"{at}keepalive", "s")
    if values.get("endpoint_port") is not None:
        parse_port(values["endpoint_port"], f"{at}endpoint_port")
    return values


def of_row(row: object) -> dict[str, Any]:
    """Return the settings of a row that has their columns."""
    return {name: getattr(row, name) for name in SETTINGS}


def in_effect(config: Config, peer: Peer, tags: Sequence[Tag], port: int) -> dict[str, InEffect]:
    """Return the settings of a peer's file, and what set each. `port`: that of the config's endpoint.

    `tags`: the peer's, by name. Of several with the same setting, the first counts.
    """
    of_config = {name: getattr(config, name) for name in SETTINGS if name != "endpoint_port"}
    return client_settings.in_effect(
        [
            Layer("peer", of_row(peer)),
            *(Layer(f"tag {quoted(tag.name)}", of_row(tag)) for tag in tags),
            Layer("config", of_config | {"endpoint_port": port}),
        ]
    )


def values(settings: Mapping[str, InEffect]) -> dict[str, Any]:
    """Return the values alone."""
    return {name: each.value for name, each in settings.items()}
