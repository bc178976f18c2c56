"""A first look at a node that joins: users are sent there once its WireGuard has answered, not before.

Who never gets an answer from any node cannot tell, and then the agent's word is enough, as it is on the first node.
"""

from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import health
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault
from wgfleet.probing.prober import Prober
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.messages import ProbeTarget

TRIES = 3
TIMEOUT_S = 0.4
UNPROVEN_S = 5.0  # how long it looks where no node answers it, which it may be unable to reach


@dataclass(frozen=True, slots=True)
class Newcomer:
    """What is looked at. `proven`: other nodes answer the panel, so that silence says something."""

    target: ProbeTarget
    proven: bool


class FirstLook:
    """Looks at nodes that join."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._since: dict[tuple[str, str], float] = {}

    async def objection(self, config_id: str, node_id: str) -> str | None:
        """Say why a joining node is not to serve yet; None: nothing is against it, or it is not joining."""
        newcomer = await in_thread(self._read, config_id, node_id)
        if newcomer is None or await self._answers(newcomer.target):
            self._since.pop((config_id, node_id), None)
            return None
        since = self._since.setdefault((config_id, node_id), clock.monotonic())
        if not newcomer.proven and clock.monotonic() - since > UNPROVEN_S:
            return None
        return (
            f"it has everything, and its WireGuard does not answer at {newcomer.target.endpoint} yet: is that UDP port "
            "open in all firewalls? It serves as soon as it answers"
        )

    async def _answers(self, target: ProbeTarget) -> bool:
        """Tell whether one of a few probes is answered; one that cannot be sent from here says nothing against it."""
        prober = Prober()
        try:
            for _ in range(TRIES):
                outcome = await prober.probe(target, TIMEOUT_S)
                if outcome.answer is not None or not outcome.sent:
                    return True
            return False
        finally:
            prober.close()

    def _read(self, config_id: str, node_id: str) -> Newcomer | None:
        with self._store.read() as tx:
            found = health.newcomer(tx, self._vault, config_id, node_id)
        if found is None:
            return None
        probed, proven = found
        target = ProbeTarget(probed.endpoint, PublicKey(probed.public_key), PrivateKey(probed.panel_key))
        return Newcomer(target, proven)
