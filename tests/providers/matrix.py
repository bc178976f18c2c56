"""Each way in which Cloudflare's API can misbehave, at a record that is created, deleted and updated.

`python -m tests.providers.matrix` prints it as a table, with `--json` for programs.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.providers.cloudflare.misbehaviour import Fault
from tests.providers.publication import Calls, Panel, panel
from wgfleet.panel.domain.dns.states import SyncState
from wgfleet.panel.store.tables import Config, Node

TTL_S, NEW_TTL_S = 300, 120
REVOKED = "token revoked until somebody mends it"
OUTAGE = "502 to everything for an hour"
FAULTS: dict[str, tuple[Fault, ...]] = {
    "none": (),
    "500 before commit": (Fault(kind="error", status=500),),
    "500 after commit": (Fault(kind="error", status=500, when="after"),),
    "503 three times": (Fault(kind="error", status=503, times=3),),
    OUTAGE: (Fault(kind="error", status=502, on="any", times=0),),
    "time-out before commit": (Fault(kind="silence"),),
    "time-out after commit": (Fault(kind="silence", when="after"),),
    "time-out of the first read": (Fault(kind="silence", on="read"),),
    "cut off before commit": (Fault(kind="cut"),),
    "cut off after commit": (Fault(kind="cut", when="after"),),
    "after commit, and no read for a while": (
        Fault(kind="error", when="after"),
        Fault(kind="slow", on="read", seconds=0),
        Fault(kind="error", on="read", times=3),
    ),
    "page of HTML before commit": (Fault(kind="html"),),
    "page of HTML after commit": (Fault(kind="html", when="after"),),
    "page of HTML to a read": (Fault(kind="html", on="read"),),
    "slow": (Fault(kind="slow", on="any", seconds=0.1, times=3),),
    "429, blocked for 300 s": (Fault(kind="blocked", seconds=300),),
    REVOKED: (Fault(kind="revoked"),),
}
KILLED = "panel killed after the call"
FAULTS[KILLED] = ()
HOUR_S = 3600


@dataclass(frozen=True)
class Cell:
    """The result of one fault at one kind of change. `equal`: our records in the zone are the desired ones."""

    fault: str
    change: str
    state: SyncState
    equal: bool
    others_untouched: bool
    calls: Calls


def _create(at: Panel, config: Config, nodes: list[Node]) -> None:
    at.serve(config, nodes[2])


def _delete(at: Panel, config: Config, nodes: list[Node]) -> None:
    at.world.remove(config, nodes[1])


def _update(at: Panel, config: Config, _nodes: list[Node]) -> None:
    at.set_ttl(config, NEW_TTL_S)


# What is done to a name that lists the first two nodes -> which nodes it is to list then, and their TTL in s.
CHANGES: dict[str, tuple[Callable[[Panel, Config, list[Node]], None], tuple[int, ...], int]] = {
    "create": (_create, (0, 1, 2), TTL_S),
    "delete": (_delete, (0,), TTL_S),
    "update": (_update, (0, 1), NEW_TTL_S),
}


def opened_nodes(at: Panel) -> list[Node]:
    """Make the three nodes of the matrix, and records of other people in the zone."""
    for name, type_, content in (
        ("example.com", "A", "203.0.113.1"),
        ("example.com", "MX", "10 mail.example.com"),
        ("www.example.com", "A", "203.0.113.2"),
        ("x.vpn1.example.com", "A", "203.0.113.3"),
    ):
        at.at.plant(name, type_, content)
    return [at.node(name) for name in ("fra1", "ams1", "par1")]


def cell(at: Panel, nodes: list[Node], fault: str, change: str) -> Cell:
    """Publish a name with two nodes, then have one change meet one fault, until all is settled."""
    act, expected, ttl = CHANGES[change]
    config = at.publish(*nodes[:2], ttl=TTL_S)
    at.converge(config)
    at.at.plant(at.name(config), "TXT", '"by hand"')
    others = at.others(config)
    act(at, config, nodes)
    silent = any(one.kind == "silence" for one in FAULTS[fault])
    at.at.stand_in.misbehave(*FAULTS[fault])
    with at.little_patience() if silent else nullcontext(), at.counted() as counted:
        if fault == KILLED:
            at.die_after_the_call(config)
        if fault in {OUTAGE, REVOKED}:
            end = at.clock.now() + HOUR_S
            while at.clock.now() < end:
                at.cycle(config)
            at.at.stand_in.faults.clear()
            at.at.token.status = "active"
        state = at.converge(config)
    at.at.stand_in.faults.clear()
    wanted = {("A", nodes[index].endpoint_addresses[0], ttl) for index in expected}
    return Cell(fault, change, state, at.listed(config) == wanted, at.others(config) == others, counted[0])


def cells(folder: Path) -> Iterator[Cell]:
    """Go through the matrix, on one panel, with a config of its own for each cell."""
    with panel(folder) as at:
        nodes = opened_nodes(at)
        for fault in FAULTS:
            for change in CHANGES:
                yield cell(at, nodes, fault, change)


def shown(found: Cell) -> str:
    """Say a cell in a few words."""
    good = found.state is SyncState.SYNCED and found.equal and found.others_untouched
    return f"{'equal' if good else 'WRONG'}, {found.calls.reads} + {found.calls.writes}, {found.calls.seconds:g} s"


def main() -> None:
    parser = argparse.ArgumentParser(description="Faults of the Cloudflare stand-in against the panel's publisher.")
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    with tempfile.TemporaryDirectory() as folder:
        found = list(cells(Path(folder)))
    if as_json:
        print(json.dumps([dataclasses.asdict(one) for one in found]))  # noqa: T201 - a program's output
        return
    table = Table(title="final state, reads + writes, seconds by the panel's clock", box=None, title_justify="left")
    for column in ("misbehaviour", *CHANGES):
        table.add_column(column)
    for fault in FAULTS:
        table.add_row(fault, *(shown(one) for one in found if one.fault == fault))
    Console(file=sys.stdout, width=120, highlight=False).print(table)


if __name__ == "__main__":
    main()
