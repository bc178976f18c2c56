"""Succession: whether another panel, on a newer copy of the same database, has taken this one's place. Pure.

A panel that was restored or cloned is refused by agents that obeyed the other one. It must not go on: it would take
nodes out of use, publish names, and move addresses and users against the panel that the nodes obey. But neither must a
word of an agent stop a panel: who breaks into one node could end failover for all of them.

What is enough:

1. *A proof.* Each panel seals its name with the master key; agents keep the newest and show it when they refuse. Only
   a panel on a copy of this database can have made it, so that such a copy does run, or did. An agent cannot make one
   however many there are, and one from before is of a lower number, which proves nothing.
2. *The nodes' obedience.* A proof alone says too little: somebody may have started a copy for a look, and it reached
   one node before it was ended. So a panel that has seen a proof goes on as long as more than half of the nodes in use
   are connected to it. Of two panels at most one has that, whatever the network does. Nodes that nobody reaches obey
   neither; with half or less of all, a panel would not take nodes out of use anyway (`domain.health.quorum`).

The first proof counts, and the freeze then lasts until more than half obey: nodes that fall silent end nothing. A
broken-into agent that once was called by a copy holds a real proof; it then takes half of the fleet to be unreachable
as well, and a person's one command ends it.
"""

from collections.abc import Set as AbstractSet


def is_superseded(in_use: AbstractSet[str], obeying: AbstractSet[str], *, before: bool, proven: bool) -> bool:
    """Tell whether this panel is to decide nothing.

    `in_use` are nodes with an agent that serve a config, `obeying` those that are connected to this panel. `before`: it
    was superseded until now. `proven`: an agent that refuses it has shown the proof of a newer one.
    """
    return (before or proven) and len(in_use & obeying) * 2 <= len(in_use)
