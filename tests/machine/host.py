"""The machine that script/systemd-machine made: its network, its program, and what is asked of it."""

from pathlib import Path

from tests.kernel.node import inside, install_program, pings
from tests.kernel.systemd import journal, run, succeeds

__all__ = ["INTERNET", "NODE", "begin", "inside", "journal", "pings", "run", "succeeds"]

PANEL, NODE, ROUTER = "192.0.2.5", "203.0.113.10", "203.0.113.1"
INTERNET = "internet"  # the namespace of everybody else
_NETWORK = f"""
ip netns add {INTERNET}
ip link add eth0 type veth peer name eth0 netns {INTERNET}
ip address add {NODE}/24 dev eth0
ip link set eth0 up
ip -n {INTERNET} address add {ROUTER}/24 dev eth0
ip -n {INTERNET} link set lo up
ip -n {INTERNET} link set eth0 up
ip route add default via {ROUTER}
ip address add {PANEL}/32 dev lo
printf '{PANEL} panel.example.com\\n203.0.113.20 cabin.example.net\\n' >>/etc/hosts
"""
"""What is there before: a way out, and the names that the document calls."""


def begin() -> None:
    """Make the network, and what pip would get from elsewhere: the locks' packages."""
    run("sh", "-e", "-c", _NETWORK)
    install_program()
    pip = Path("/opt/wgfleet/bin/pip")
    pip.write_text("#!/opt/wgfleet/bin/python\nfrom pip._internal.cli.main import main\nraise SystemExit(main())\n")
    pip.chmod(0o755)
