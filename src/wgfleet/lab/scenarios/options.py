"""Options of scenarios."""

from dataclasses import dataclass
from typing import Literal

from wgfleet.lab.assembly import PLAIN, Equipment
from wgfleet.lab.weather import CALM, Weather

Kind = Literal["stop", "wireguard", "cut"]


@dataclass(frozen=True, slots=True)
class ScenarioOptions:
    """The options of all scenarios; each reads those that concern it.

    `rate` in packets/s for each client, `rounds` repeats in one lab, `peers` for scenarios that only configure,
    `minutes` for those that go on for a while, `strangers` idle connections at
    each door, `equipment` is what the lab has been built with. Of `failover`: `kill`
    the node's processes instead of cutting its cable, `takeover` False leaves sessions where they are. Of `drain`:
    `relay` those who cannot be called. Of `tcp`: with a `backbone`. Of `return`: `kind` of what happens to a node that
    is back `away_s` later (see `relapse`); None: it is cut off and replaced.
    `weather` of `failover` and `steady`, and `pause_panel_s` of the latter: how long the panel is stopped now and then.
    """

    rate: float = 100.0
    rounds: int = 1
    peers: int = 1000
    minutes: float = 15.0
    kill: bool = False
    takeover: bool = True
    strangers: int = 100
    equipment: Equipment = PLAIN
    kind: Kind | None = None
    away_s: float = 20.0
    weather: Weather = CALM
    pause_panel_s: float = 0.0
    relay: bool = False
    backbone: bool = False
