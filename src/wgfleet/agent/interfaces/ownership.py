"""Ownership of links: which of the machine's links are the agent's, and which of others' it is to take over."""

from typing import TYPE_CHECKING

import structlog

from wgfleet.agent.interfaces.admission import SameKey
from wgfleet.agent.kernel import links
from wgfleet.agent.kernel.machine import Machine, index_of
from wgfleet.agent.state.adoptions import Adoptions
from wgfleet.agent.state.ledger import Ledger
from wgfleet.protocol.desired import InterfaceDelta, Push
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PrivateKey

if TYPE_CHECKING:
    from wgfleet.agent.interfaces.reconciler import InterfaceReconciler

_log = structlog.get_logger()


class Ownership:
    """Tells links that are ours from those of others. `boot`: the kernel's id of this boot."""

    def __init__(self, machine: Machine, ledger: Ledger, adoptions: Adoptions | None, boot: str) -> None:
        self._machine = machine
        self._ledger = ledger
        self._adoptions = adoptions
        self._boot = boot

    async def is_foreign(
        self, name: InterfaceName, kept: "InterfaceReconciler | None", private_key: PrivateKey | None = None
    ) -> bool:
        """Whether a link of that name exists that is not ours.

        Ours is one that the ledger has for this boot and that bears our mark. Without the mark (an agent was killed
        while it made it, or is of a release that made none), or without the ledger, having our key is the proof.
        """
        index = index_of(name)
        if index is None or (kept is not None and kept.owns(index)):
            return False
        owned = self._ledger.owned().get(name)
        here = owned is not None and owned.boot in {"", self._boot}
        if not here and not (owned is None and self._ledger.lost):
            return True
        link = await self._machine.link(name)
        if link is None or (here and link.marked):
            return False
        key = private_key if kept is None else kept.desired.settings.private_key
        if key is None:  # it is being removed
            return not here
        return not await self._machine.claim(name, key, fresh=here and kept is None)

    async def same_key(self, name: InterfaceName, push: Push) -> SameKey | None:
        """Look whether a foreign link has the key of a push, so that it can be taken over as it runs; None: it has not.

        Marks it as ours where a person has asked for that, nobody loses access whom they have not been told of, and it
        listens where it will.
        """
        if self._adoptions is None or isinstance(push, InterfaceDelta):
            return None
        found = await self._machine.members(name)
        if found is None or found.private_key != push.settings.private_key:
            return None
        others = tuple(sorted(found.peers - push.peers.keys()))
        asked = self._adoptions.asked(name)
        same_port = found.listen_port == push.settings.listen_port
        adopted = asked is not None and (asked.remove_others or not others) and same_port
        if adopted:
            await links.mark(name)
            _log.warning("interface.adopted", interface=name, peers=len(found.peers), removed=others)
        return SameKey(found.listen_port, push.settings.listen_port, len(found.peers), others, adopted)

    def adopted(self, name: InterfaceName) -> None:
        """Note that a link was taken over, and is in the ledger."""
        if self._adoptions is not None:
            try:
                self._adoptions.done(name)
            except OSError as error:  # it ends by itself
                _log.error("adoption.not_written", interface=name, reason=error.strerror)
