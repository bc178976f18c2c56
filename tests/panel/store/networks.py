"""Rows that tests of the store build on: the least that the tables ask for."""

from collections.abc import Iterable

from wgfleet.panel.domain import addressing
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Config, Peer, Pool


def add_config(tx: Tx, config_id: str) -> Config:
    config = Config(
        id=config_id,
        name=config_id,
        mode="cluster",
        listen_port=51820,
        dns=[],
        client_allowed_ips=["0.0.0.0/0"],
        keepalive=25,
        masquerade=True,
        enabled=True,
        generation=1,
        settings_generation=1,
        oldest_base=0,
        probe_private_key_sealed=b"",
        probe_public_key="",
        probes_generation=1,
        created_at=0.0,
    )
    tx.session.add(config)
    tx.session.flush()
    return config


def add_pool(tx: Tx, config_id: str, network: str, server: str | None = None) -> Pool:
    pool = Pool(
        id=f"{config_id} {network}",
        config_id=config_id,
        network=network,
        next_offset=addressing.first_offset(network, server),
        server_address=server,
    )
    tx.session.add(pool)
    return pool


def add_peers(tx: Tx, config_id: str, peer_ids: Iterable[str]) -> list[str]:
    names = list(peer_ids)
    tx.session.add_all(
        Peer(
            id=name,
            config_id=config_id,
            name=name,
            public_key=name,
            networks=[],
            keepalive=25,
            enabled=True,
            generation=1,
            created_at=0.0,
        )
        for name in names
    )
    return names
