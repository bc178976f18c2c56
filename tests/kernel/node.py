"""This machine as a node: an agent installed as its documentation says, and the panel's side of its API."""

import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

from tests.agent.authority import Authority
from tests.kernel.systemd import UNITS, run
from tests.waiting import eventually
from wgfleet.protocol.desired import DesiredInterface, FloatingSettings
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.messages import Applied, Enrolled, EnrollRequest

AGENT = "wgfleet-agent.service"
NODE = NodeId("node-1")
HOST = f"{NODE}.node.wgfleet.internal"
CHECKOUT = Path("/opt/checkout")
PROGRAM = Path("/opt/wgfleet")
CALLER = Path("/var/lib/kernel-vm-panel")  # what the panel calls with; here because it is still there after a boot
# The node's link to its neighbours, on which floating addresses live, and its link to a client.
NEIGHBOUR, CLIENT_HOST = "unit-neighbour", "unit-client"
NODE_ADDRESS, NEIGHBOUR_ADDRESS, CLIENT_ADDRESS = "198.18.17.1", "198.18.16.2", "198.18.17.2"
FLOATING = "198.18.16.100"
LINKS = f"""#!/bin/sh -e
ip netns add {NEIGHBOUR}
ip link add eth0 type veth peer name eth0 netns {NEIGHBOUR}
ip address add 198.18.16.1/24 dev eth0
ip link set eth0 up
ip -n {NEIGHBOUR} address add {NEIGHBOUR_ADDRESS}/24 dev eth0
ip -n {NEIGHBOUR} link set eth0 up
ip netns add {CLIENT_HOST}
ip link add eth1 type veth peer name eth0 netns {CLIENT_HOST}
ip address add {NODE_ADDRESS}/24 dev eth1
ip link set eth1 up
ip -n {CLIENT_HOST} address add {CLIENT_ADDRESS}/24 dev eth0
ip -n {CLIENT_HOST} link set eth0 up
"""
LINKS_UNIT = """[Unit]
Description=The network of the node
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/kernel-vm-links
[Install]
WantedBy=multi-user.target
"""


def install_program() -> None:
    """Put the program where docs/agent.md has it; its own files are those of the checkout."""
    if PROGRAM.exists():
        return
    # A virtual environment, as `python3 -m venv` makes it, whose packages are the checkout's.
    (theirs,) = (CHECKOUT / ".venv").glob("lib/python3*/site-packages")
    packages = PROGRAM / theirs.relative_to(CHECKOUT / ".venv")
    packages.mkdir(parents=True)
    (packages / "checkout.pth").write_text(f"{CHECKOUT}/src\n{theirs}\n")
    (PROGRAM / "pyvenv.cfg").write_text((CHECKOUT / ".venv/pyvenv.cfg").read_text())
    (PROGRAM / "bin").mkdir()
    (PROGRAM / "bin/python").symlink_to("/usr/bin/python3")
    program = PROGRAM / "bin/wgfleet"
    program.write_text(f"#!{PROGRAM}/bin/python\nfrom wgfleet.cli import main\nmain()\n")
    program.chmod(0o755)
    run("ln", "-s", str(program), "/usr/local/bin/")


def install() -> None:
    """Put program and unit where docs/agent.md has them, and make the node's network."""
    install_program()
    links = Path("/usr/local/sbin/kernel-vm-links")
    links.write_text(LINKS)
    links.chmod(0o755)
    (UNITS / "kernel-vm-links.service").write_text(LINKS_UNIT)
    run("cp", "packaging/systemd/wgfleet-agent.service", f"{UNITS}/", cwd=CHECKOUT)
    run("systemctl", "daemon-reload")
    run("systemctl", "enable", "--now", "kernel-vm-links.service")


def enroll(*before: str, caller: Path = CALLER, state: Path | None = None) -> None:
    """Enroll with a panel that knows no more than that; with `state`, as a witness that keeps it there.

    `before`: what is in front of the command.
    """
    authority = Authority(caller)
    authority.panel()
    more = [] if state is None else ["--state-dir", str(state)]
    with _panel(authority, witness=state is not None) as address:
        run(*before, "wgfleet", "agent", "enroll", "--panel", address, "--token", "token", *more)


@contextmanager
def _panel(authority: Authority, *, witness: bool) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = msgspec.json.decode(self.rfile.read(int(self.headers["content-length"])), type=EnrollRequest)
            certificate = authority.sign(asked.csr, NODE)
            body = msgspec.json.encode(Enrolled(NODE, certificate, authority.pem, witness))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def call(method: str, path: str, body: object = None, caller: Path = CALLER) -> httpx.Response:
    """Call the agent as the panel does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(caller / "ca.crt")
    context.load_cert_chain(caller / "panel.crt", caller / "panel.key")
    content = None if body is None else msgspec.json.encode(body)
    with httpx.Client(verify=context, base_url="https://127.0.0.1:51900", timeout=90, trust_env=False) as client:
        return client.request(method, path, content=content, extensions={"sni_hostname": HOST})


def answers(caller: Path = CALLER) -> bool:
    try:
        return call("GET", "/health", caller=caller).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def applied(wanted: DesiredInterface) -> Applied:
    response = call("PUT", "/v1/wg/wg0", wanted)
    assert response.status_code == httpx.codes.OK, response.text
    return msgspec.json.decode(response.content, type=Applied)


def with_floating(wanted: DesiredInterface, *addresses: str) -> DesiredInterface:
    floating = FloatingSettings(addresses, (), wanted.settings.private_key, 3.0)
    return msgspec.structs.replace(wanted, settings=msgspec.structs.replace(wanted.settings, floating=floating))


def inside(host: str, *command: str) -> list[str]:
    return ["ip", "netns", "exec", host, *command]


def pings(host: str, address: str) -> bool:
    command = inside(host, "ping", "-n", "-q", "-c", "1", "-W", "2", address)
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def connect(private_key: str, node_key: str, address: str) -> None:
    """Bring up the client with the plain tools; its tunnel leads to the node and to the node's neighbours."""
    run("ip", "-n", CLIENT_HOST, "link", "add", "wg0", "type", "wireguard")
    run(*inside(CLIENT_HOST, "wg", "set", "wg0", "private-key", "/dev/stdin"), stdin=private_key)
    peer = ("allowed-ips", "10.9.0.0/24,198.18.16.0/24", "endpoint", f"{NODE_ADDRESS}:51820")
    run(*inside(CLIENT_HOST, "wg", "set", "wg0", "listen-port", "40000", "peer", node_key, *peer))
    run("ip", "-n", CLIENT_HOST, "address", "add", f"{address}/24", "dev", "wg0")
    run("ip", "-n", CLIENT_HOST, "link", "set", "wg0", "up")
    run("ip", "-n", CLIENT_HOST, "route", "add", "198.18.16.0/24", "dev", "wg0")
    run("ip", "-n", CLIENT_HOST, "route", "add", FLOATING, "via", NODE_ADDRESS)
    eventually(lambda: pings(CLIENT_HOST, "10.9.0.1"), every_s=0.2)
