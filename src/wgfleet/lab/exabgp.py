"""Routing daemon exabgp in a node of the lab, with the process of ours that tells it what to announce."""

import sys
from pathlib import Path

from wgfleet.lab.node_daemons import NodeDaemon

_PROGRAM = Path(sys.executable).parent / "wgfleet"
_NODE = f"""
process wgfleet {{{{
    run {_PROGRAM} agent announce --network {{routed}} --network {{routed6}};
    encoder text;
}}}}
template {{{{
    neighbor router {{{{
        router-id {{own}};
        local-as {{number}};
        peer-as {{router_as}};
        hold-time 3;
        api {{{{ processes [ wgfleet ]; }}}}
    }}}}
}}}}
neighbor {{gateway}} {{{{ inherit router; local-address {{own}}; family {{{{ ipv4 unicast; }}}} }}}}
neighbor {{gateway6}} {{{{ inherit router; local-address {{own6}}; family {{{{ ipv6 unicast; }}}} }}}}
"""


def _commands(file: str) -> list[list[str]]:
    return [["exabgp", file]]


NODE = NodeDaemon(
    name="exabgp",
    package="exabgp",
    programs=("exabgp",),
    processes=("sbin/exabgp",),
    file="exabgp.conf",
    template=_NODE,
    directory="/run/exabgp",
    commands=_commands,
    has_bfd=False,
    environment={"exabgp_daemon_user": "root", "exabgp_api_cli": "false"},
)
