"""The fleet on a built network: a panel, nodes with agents, a config, peers. Restarts what was killed.

Everything goes through the `wgfleet` program and the HTTP API, as it would on real machines.
"""

import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from wgfleet.lab import processes, routing
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import Document, PanelClient
from wgfleet.lab.state import Lab
from wgfleet.lab.topology import ALL_FLOATING_ADDRESSES, RANGE
from wgfleet.lab.waiting import look_for, wait_for

CONFIG = "wg0"
POOL = "10.8.0.0/16"
NODE_TUNNEL_ADDRESS = "10.8.0.1"
LISTEN_PORT = 51820
PANEL_PORT = 8443
PROGRAM = str(Path(sys.executable).parent / "wgfleet")
_RELEASE = "release"  # in the directory of a node whose agent is of another release: where that is
_START_S = 60.0
_POLL_S = 0.05


def panel_url(lab: Lab) -> str:
    """Return where the lab's panel listens."""
    return f"https://{lab.host('panel').address}:{PANEL_PORT}"


def data_dir(lab: Lab) -> str:
    """Return the panel's data directory."""
    return str(lab.host("panel").directory / "data")


def ca_file(lab: Lab) -> Path:
    """Return the certificate of the panel's CA."""
    return lab.directory / "ca.pem"


def start_panel(lab: Lab, environment: Mapping[str, str] | None = None) -> Path:
    """Start the panel, for the first time or again; return its log."""
    command = [PROGRAM, "panel", "run", "--data-dir", data_dir(lab)]
    inside = {"WGFLEET_DNS__ALLOWED_SERVERS": RANGE}  # the lab's name server is not on the internet
    return lab.host("panel").start(
        [
            *command,
            *("--listen", f"{lab.host('panel').address}:{PANEL_PORT}"),
            "--panel-node" if lab.panel_node else "--no-panel-node",
        ],
        "panel",
        {**inside, **(environment or {})},
    )


def panel_runs(lab: Lab) -> bool:
    """Tell whether a process of the panel is there.

    One that is ending has no command line any more, but its lock on the data directory for a moment yet; then it is in
    no namespace any more, and its sockets are about to be closed.
    """
    host = lab.host("panel")
    lines = [processes.command_line(pid) for pid in host.find()]
    return any(not line or "panel run" in " ".join(line) for line in lines) or host.listens(PANEL_PORT)


def kill_panel(lab: Lab) -> None:
    """End the panel as a power cut would, and wait until it is gone."""
    lab.host("panel").signal(signal.SIGKILL, "panel run")
    wait_for(lambda: not panel_runs(lab), "the killed panel is still there", within_s=_START_S, every_s=_POLL_S)


def wait_answering(lab: Lab) -> None:
    """Wait until the panel answers its API."""
    try:
        wait_for(lambda: _fetch_ca(panel_url(lab)), "the panel does not answer", within_s=_START_S, every_s=_POLL_S)
    except LabError as error:
        raise LabError(f"{error}: {tail(lab.host('panel').directory / 'log' / 'panel.log')}") from None


def restart_panel(lab: Lab, environment: Mapping[str, str] | None = None) -> None:
    """Kill the panel if it runs, start it on its data, and wait until it answers."""
    kill_panel(lab)
    start_panel(lab, environment)
    wait_answering(lab)


def first_start(lab: Lab) -> str:
    """Start the panel on an empty directory, keep its CA's certificate; return the first admin key."""
    log = start_panel(lab)
    wait_for(lambda: panel_runs(lab), "the panel's process is not there", within_s=_START_S, every_s=_POLL_S)
    look_for(lambda: _fetch_ca(panel_url(lab)) or not panel_runs(lab), within_s=_START_S)
    certificate = _fetch_ca(panel_url(lab))
    key = Path(data_dir(lab)) / "first-admin-key"  # it is there before anything is served
    if certificate is None or not key.exists():
        raise LabError(f"the panel did not come up (--logs DIR keeps what it wrote): {tail(log)}")
    ca_file(lab).write_text(certificate, encoding="ascii")
    return key.read_text(encoding="ascii").strip()


def set_up_address(lab: Lab) -> str:
    """Return the one-time address where a browser sets the panel up, as its first start has it."""
    path = Path(data_dir(lab)) / "set-up-address"
    return wait_for(
        lambda: path.read_text(encoding="ascii").strip() if path.exists() else "",
        f"the panel has not written {path.name}",
        within_s=_START_S,
        every_s=_POLL_S,
    )


def _fetch_ca(url: str) -> str | None:
    # Nothing to check it against yet, and nobody but us on this network; from here on everything is checked.
    try:
        response = httpx.get(f"{url}/api/ca.pem", verify=False, timeout=5, trust_env=False)  # noqa: S501 - see above
    except httpx.HTTPError:
        return None
    return response.text if response.is_success else None


def tail(log: Path, lines: int = 5) -> str:
    """Return the last lines of a log, for an error's text."""
    return " / ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


@contextmanager
def client(lab: Lab) -> Iterator[PanelClient]:
    """Give an API client with the lab's admin key."""
    with PanelClient(panel_url(lab), lab.result["api_key"], ca_file(lab)) as panel:
        yield panel


def _state_dir(host: Host) -> str:
    return str(host.directory / "agent")


def run_release(host: Host, release: Path | None) -> None:
    """Have a node's agent be of another release from its next start on: that in a folder; None: of this one."""
    link = host.directory / _RELEASE
    link.unlink(missing_ok=True)
    if release is not None:
        link.symlink_to(release.resolve())


def _release_environment(host: Host) -> dict[str, str]:
    link = host.directory / _RELEASE
    return {"PYTHONPATH": str(link.readlink())} if link.is_symlink() else {}


def start_agent(host: Host) -> Path:
    """Start a node's agent, and what else runs there, for the first time or again; return its log."""
    routing.start(host)
    role = ["--witness"] if host.name.startswith("witness-") else []
    command = [PROGRAM, "agent", "run", *role, "--state-dir", _state_dir(host)]
    return host.start(command, "agent", _release_environment(host))


def kill_agent(host: Host) -> bool:
    """End a node's agent as a fault would, and leave WireGuard running; tell whether there was one."""
    return bool(host.signal(signal.SIGKILL, "wgfleet.agent"))


def power_off(host: Host) -> int:
    """Kill everything that runs in a host, as a power cut would; return how many processes.

    A machine without power has no floating addresses either, while a namespace would keep them.
    """
    killed = host.kill_all()
    for address in ALL_FLOATING_ADDRESSES:
        host.run("ip", "addr", "flush", "to", address)
    return killed


def agent_log(host: Host) -> Path:
    """Return where a node's agent writes its log, a JSON object a line."""
    return host.directory / "log" / "agent.log"


def enroll(panel: PanelClient, host: Host) -> Document:
    """Add a node or a witness, and let the host join as it; return the node."""
    witness = host.name.startswith("witness-")
    role = {"witness": True, "agent_host": host.address} if witness else {"endpoint_addresses": [host.address]}
    node: Document = panel.call("POST", "/api/nodes", {"name": host.name, **role})
    join(host, panel.call("POST", f"/api/nodes/{node['id']}/join-token")["command"])
    return node


def join(host: Host, line: str) -> None:
    """Run the line with which the panel lets an agent enroll, and start the agent."""
    _, *words = shlex.split(line)
    variables = [f"{name}={value}" for name, value in _release_environment(host).items()]
    host.run("env", *variables, PROGRAM, *words, "--state-dir", _state_dir(host))
    start_agent(host)


def hosts(lab: Lab, kind: str) -> list[Host]:
    """Return the hosts that are a `node` or a `client`, in order."""
    return [host for name, host in lab.hosts.items() if name.startswith(f"{kind}-")]


def start_again(host: Host, lab: Lab) -> Path:
    """Start what a host runs, after it was killed."""
    if host.name == "panel":
        return start_panel(lab)
    if host.name.startswith(("node-", "witness-")):
        return start_agent(host)
    raise LabError(f"{host.name} runs nothing of wgfleet; a client is restarted with wg-quick in it")


def favour_nodes(lab: Lab) -> None:
    """Have what the nodes' WireGuard does come before panel and agents; again after a node was killed."""
    for host in hosts(lab, "node"):
        host.favour("wireguard-go")
        routing.favour(host)


def assign(panel: PanelClient, node_id: str) -> None:
    """Put the config on a node."""
    panel.call("POST", f"/api/configs/{CONFIG}/nodes", {"node_id": node_id})


def wait_connected(panel: PanelClient, count: int) -> None:
    """Wait until the panel is connected to the agents of that many nodes."""

    def missing() -> str:
        found = [f"{node['name']}: {node['summary']}" for node in panel.all("/api/nodes") if not node["connected"]]
        return f"not all agents are connected ({'; '.join(found)})"

    wait_for(
        lambda: sum(node["connected"] for node in panel.all("/api/nodes")) >= count,
        missing,
        within_s=_START_S,
        every_s=_POLL_S,
    )


def wait_serving(panel: PanelClient, count: int) -> None:
    """Wait until that many nodes serve the config."""
    path = f"/api/configs/{CONFIG}/nodes"

    def states() -> str:
        return "; ".join(f"{each['node_id']} {each['phase']}: {each.get('summary', '')}" for each in panel.all(path))

    wait_for(
        lambda: sum(entry["phase"] == "serving" for entry in panel.all(path)) >= count,
        lambda: f"not all nodes serve {CONFIG} ({states()})",
        within_s=_START_S,
        every_s=_POLL_S,
    )


def wait_sessions(panel: PanelClient) -> None:
    """Wait until the panel knows a session of each peer: a node that dies before told nobody where its clients are."""
    wait_for(
        lambda: all(peer["session"] is not None for peer in panel.all(f"/api/configs/{CONFIG}/peers")),
        "the panel does not see a session of each client",
        within_s=_START_S,
        every_s=_POLL_S,
    )


def add_peers(panel: PanelClient, count: int) -> list[Document]:
    """Add peers to the config in one call; return them."""
    answer = panel.call("POST", f"/api/configs/{CONFIG}/peers/batch", {"count": count, "name_prefix": "user-"})
    found: list[Document] = answer["items"]
    return found
