"""FRR in a node of the lab: zebra, which knows the addresses, bfdd and bgpd, with one file for all three."""

from wgfleet.lab.node_daemons import NodeDaemon

_FOLDER = "/usr/lib/frr"
_PROGRAMS = ("zebra", "bfdd", "bgpd")
_NODE = """
log stdout informational
ip prefix-list floating seq 5 permit {routed} ge 32
ipv6 prefix-list floating seq 5 permit {routed6} ge 128
route-map own permit 10
 match interface lo
 match ip address prefix-list floating
route-map own permit 20
 match interface lo
 match ipv6 address prefix-list floating
route-map floating permit 10
 match ip address prefix-list floating
route-map floating permit 20
 match ipv6 address prefix-list floating
route-map none deny 10
ip protocol bgp route-map none
ipv6 protocol bgp route-map none
bfd
 profile fast
  detect-multiplier 4
  receive-interval 100
  transmit-interval 100
router bgp {number}
 bgp router-id {own}
 bgp graceful-restart-disable
 no bgp default ipv4-unicast
 timers bgp 3 9
 neighbor router peer-group
 neighbor router remote-as {router_as}
 neighbor router bfd profile fast
 neighbor router timers connect 1
 neighbor router advertisement-interval 0
 neighbor {gateway} peer-group router
 neighbor {gateway6} peer-group router
 address-family ipv4 unicast
  redistribute connected route-map own
  neighbor {gateway} activate
  neighbor {gateway} route-map floating in
  neighbor {gateway} route-map floating out
 exit-address-family
 address-family ipv6 unicast
  redistribute connected route-map own
  neighbor {gateway6} activate
  neighbor {gateway6} route-map floating in
  neighbor {gateway6} route-map floating out
 exit-address-family
"""


def _commands(file: str) -> list[list[str]]:
    common = ["-f", file, "-z", "/run/frr/zserv.api", "-P", "0"]
    return [[f"{_FOLDER}/{program}", *common] for program in _PROGRAMS]


NODE = NodeDaemon(
    name="frr",
    package="frr",
    programs=tuple(f"{_FOLDER}/{program}" for program in _PROGRAMS),
    processes=tuple(f"{_FOLDER}/{program}" for program in _PROGRAMS),
    file="frr.conf",
    template=_NODE,
    directory="/run/frr",
    commands=_commands,
    owner="frr",
    # One that bgpd does not find yet has no session for it, now and then for good.
    sockets=tuple(f"/run/frr/{program}.vty" for program in _PROGRAMS),
)
