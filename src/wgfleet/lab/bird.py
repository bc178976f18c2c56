"""BIRD in the lab: in the router, and in nodes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wgfleet.lab.hosts import Host
from wgfleet.lab.node_daemons import NodeDaemon, Values
from wgfleet.lab.topology import NODE_SEGMENT, OTHER_NODE_SEGMENT, ROUTED, ROUTED6

SOCKET = "/run/bird/bird.ctl"
_BFD = "min rx interval 100 ms; min tx interval 100 ms; multiplier 4;"
_TIMES = "bfd on; hold time 9; connect delay time 1; connect retry time 1; error wait time 1, 2;"

# Nodes learn the way out over IPv6 from the router's advertisements, as in most networks.
_ROUTER = f"""
log stderr all;
router id {{address}};
protocol device {{{{ }}}}
protocol kernel {{{{ ipv4 {{{{ import none; export where source = RTS_BGP; }}}}; }}}}
protocol kernel {{{{ ipv6 {{{{ import none; export where source = RTS_BGP; }}}}; }}}}
protocol bfd {{{{ interface "*" {{{{ {_BFD} }}}}; }}}}
protocol radv {{{{
    interface "{NODE_SEGMENT.bridge}", "{OTHER_NODE_SEGMENT.bridge}" {{{{
        min ra interval 3; max ra interval 4; prefix ::/0 {{{{ skip; }}}};
    }}}};
}}}}
template bgp node {{{{
    local as {{router_as}};
    {_TIMES}
    ipv4 {{{{ import where net ~ [ {{routed}}{{{{32,32}}}} ]; export where source = RTS_BGP; }}}};
}}}}
template bgp node6 {{{{
    local as {{router_as}};
    {_TIMES}
    ipv6 {{{{ import where net ~ [ {{routed6}}{{{{128,128}}}} ]; export where source = RTS_BGP; }}}};
}}}}
{{sessions}}
"""
_SESSIONS = """
protocol bgp {name} from node {{ neighbor {own} as {number}; }}
protocol bgp {name}_6 from node6 {{ neighbor {own6} as {number}; }}
"""
_NODE = f"""
log stderr all;
router id {{own}};
protocol device {{{{ }}}}
protocol direct {{{{ ipv4; ipv6; interface "lo"; }}}}
protocol bfd {{{{ interface "eth0" {{{{ {_BFD} }}}}; }}}}
protocol bgp upstream {{{{
    local {{own}} as {{number}};
    neighbor {{gateway}} as {{router_as}};
    {_TIMES}
    ipv4 {{{{
        import where net ~ [ {{routed}}{{{{32,32}}}} ];
        export where source = RTS_DEVICE && net ~ [ {{routed}}{{{{32,32}}}} ];
    }}}};
}}}}
protocol bgp upstream6 {{{{
    local {{own6}} as {{number}};
    neighbor {{gateway6}} as {{router_as}};
    {_TIMES}
    ipv6 {{{{
        import where net ~ [ {{routed6}}{{{{128,128}}}} ];
        export where source = RTS_DEVICE && net ~ [ {{routed6}}{{{{128,128}}}} ];
    }}}};
}}}}
"""


def _commands(file: str) -> list[list[str]]:
    return [["bird", "-f", "-c", file, "-s", SOCKET]]


NODE = NodeDaemon(
    name="bird",
    package="bird2",
    programs=("bird",),
    processes=("bird -f",),
    file="bird.conf",
    template=_NODE,
    directory="/run/bird",
    commands=_commands,
)
ROUTER = replace(NODE, template=_ROUTER)


def router_values(address: str, router_as: int, nodes: Mapping[str, Values]) -> dict[str, Any]:
    """Return what the router's settings name."""
    sessions = "".join(_SESSIONS.format(**known) for known in nodes.values())
    return {
        "address": address,
        "router_as": router_as,
        "routed": ROUTED,
        "routed6": ROUTED6,
        "sessions": sessions,
    }


def ask(host: Host, *words: str) -> str:
    """Ask the BIRD of a host; empty where none answers."""
    return host.run("birdc", "-s", SOCKET, *words, check=False)
