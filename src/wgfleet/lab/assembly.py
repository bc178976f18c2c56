"""Assembly of a fleet on a built network: a panel, nodes, a config with its public face, peers, and devices."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from wgfleet.lab import devices, face, fleet, nameserver, routing, stock
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import Document, PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.state import Lab
from wgfleet.lab.topology import ROUTER

_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a lab has beyond the least. Whether clients are behind NAT is a matter of the network.

    `name`: the panel publishes the endpoint's name, and the clients' files have that instead of an address.
    `floating`: how many addresses the nodes hold in turn by `provider`, and the name lists those; with `ipv6` they are
    of IPv6, and `daemon` announces them where routers lead them to nodes. `mobile`: the clients never learn endpoints.
    `helper`: they run the script of their bundle, and the name is in their hosts files with all nodes.
    """

    name: bool = False
    floating: int = 0
    provider: str = face.ON_LINK
    daemon: str = routing.DEFAULT
    ipv6: bool = False
    mobile: bool = False
    helper: bool = False

    @property
    def named(self) -> bool:
        """Whether the panel publishes the endpoint's name."""
        return self.name or bool(self.floating)


PLAIN = Equipment()


def assemble(lab: Lab, progress: Progress, equipment: Equipment = PLAIN) -> None:
    """Bring a panel, all nodes, the config, a peer per client and all clients up; fill in `lab.result`."""
    with progress.step("panel started"):
        key = fleet.first_start(lab)
    lab.result = {
        "panel_url": fleet.panel_url(lab),
        "api_key": key,
        "ca_file": str(fleet.ca_file(lab)),
        "nodes": [],
        "clients": [],
        "config": fleet.CONFIG,
    }
    if lab.split:
        with progress.step("routing daemons started"):
            routing.start_all(lab.host(ROUTER), fleet.hosts(lab, "node"), equipment.daemon)
    with progress.step("name server started"):
        lab.result["dns"] = nameserver.start(lab.host(ROUTER))
    with fleet.client(lab) as panel:
        _enrol_nodes(lab, panel, progress)
        for host in fleet.hosts(lab, "witness"):
            with progress.step("witness enrolled"):
                fleet.enroll(panel, host)
        if lab.panel_node:
            own = next(node for node in panel.all("/api/nodes") if node["is_panel_node"])
            lab.result["nodes"].append(_described(lab.host("panel"), own["id"]))
        panel.call(
            "POST",
            "/api/configs",
            {"name": fleet.CONFIG, "mode": "cluster", "pools": [fleet.POOL], "listen_port": fleet.LISTEN_PORT},
        )
        count = len(lab.result["nodes"])
        with progress.step(f"config {fleet.CONFIG} served by {count} nodes"):
            for node in lab.result["nodes"]:
                fleet.assign(panel, node["id"])
            fleet.wait_serving(panel, count)
        fleet.favour_nodes(lab)
        if equipment.floating:
            with progress.step(f"{equipment.floating} floating addresses held and published"):
                face.float_addresses(lab, panel, equipment.floating, equipment.provider, ipv6=equipment.ipv6)
        elif equipment.named:
            with progress.step(f"{nameserver.ENDPOINT} published"):
                face.publish(lab, panel)
        if equipment.helper:
            face.set_endpoint_group(lab, panel)
            for number, host in enumerate(fleet.hosts(lab, "client")):
                devices.name_in_hosts_file(host, [node.address for node in fleet.hosts(lab, "node")], number)
        if lab.clients:
            _connect_clients(lab, panel, progress, equipment)


def _enrol_nodes(lab: Lab, panel: PanelClient, progress: Progress) -> None:
    machines = fleet.hosts(lab, "node")
    if not machines:
        return
    with progress.step(f"{len(machines)} nodes enrolled", len(machines)) as step, ThreadPoolExecutor(_AT_ONCE) as pool:
        nodes = pool.map(lambda host: fleet.enroll(panel, host), machines)
        for host, node in zip(machines, nodes, strict=True):
            lab.result["nodes"].append(_described(host, node["id"]))
            step.advance()


def _connect_clients(lab: Lab, panel: PanelClient, progress: Progress, equipment: Equipment) -> None:
    hosts = fleet.hosts(lab, "client")
    peers = fleet.add_peers(panel, len(hosts))
    files = [(host, panel.text(f"/api/peers/{peer['id']}/config")) for host, peer in zip(hosts, peers, strict=True)]
    with progress.step(f"{len(hosts)} stock clients connected", len(hosts)) as step:
        stock.connect(files, fleet.NODE_TUNNEL_ADDRESS, step.advance)
        fleet.wait_sessions(panel)
    for host, peer in zip(hosts, peers, strict=True):
        if equipment.mobile:
            devices.make_mobile(host)
        if equipment.helper:
            devices.start_helper(host, panel.content(f"/api/peers/{peer['id']}/bundle"))
        described = _described(host, peer["id"])
        lab.result["clients"].append({**described, "tunnel_address": peer["addresses"][0]})


def _described(host: Host, identifier: str) -> Document:
    return {
        "id": identifier,
        "name": host.name,
        "namespace": host.namespace,
        "address": host.address,
        "enter": host.enter,
    }
