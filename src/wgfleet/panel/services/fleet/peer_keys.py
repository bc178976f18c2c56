"""Public keys that a new peer may have: in its config nobody else has them."""

from collections.abc import Sequence

from wgfleet.panel.errors import Conflict
from wgfleet.panel.services.fleet import probe_keys, unfinished_peers
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.keys import parse_peer_key
from wgfleet.protocol.reasons import Reason


def check_free(tx: Tx, config: Config, keys: Sequence[tuple[str, str]]) -> None:
    """Refuse public keys, (key, field), that cannot be a new peer's: WireGuard knows one peer a key, and never itself.

    Taken are those of the config, of its nodes, of their probes, and of its peers.
    """
    if not keys:
        return
    of_peers = peer_rows.clashes(tx, config.id, [], [key for key, _ in keys])[1]
    of_servers = {config.public_key} | {a.public_key for a, _ in assignment_rows.of_config(tx, config.id)}
    of_probes = probe_keys.in_use(tx, config)
    for key, field in keys:
        if parse_peer_key(key, field) in of_servers:
            raise Conflict(
                Reason(
                    "this is the public key of the server itself; give the user's (`wg pubkey` of the user's own key)"
                ),
                field=field,
            )
        if key in of_probes:
            raise Conflict(
                Reason("this public key belongs to the probes of the nodes; give the user's own"), field=field
            )
        if key in of_peers:
            unfinished_peers.check_ended(tx, config.id, peer_rows.ids_of_key(tx, config.id, key), field)
            raise Conflict(Reason("this public key is already used by another peer"), field=field)
        of_peers.add(key)
