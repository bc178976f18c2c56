"""`wgfleet agent`: enroll a node, run its agent; and see, or take away, what it has on this machine."""

import os
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

import typer

from wgfleet.agent.settings import EVERYWHERE, AgentSettings
from wgfleet.agent.state.identity import DEFAULT_STATE_DIR, StateDirectory
from wgfleet.cli import agent_here
from wgfleet.cli.agent_here import StateDir
from wgfleet.cli.hints import sentence
from wgfleet.cli.output import say
from wgfleet.cli.tree import commands
from wgfleet.protocol.messages import AGENT_PORT

app = commands()
app.command()(agent_here.status)
app.command()(agent_here.adopt)
app.command()(agent_here.forget)
app.command()(agent_here.leave)
Backend = Literal["auto", "kernel", "userspace"]
EXABGP_SOCKET = Path("/run/exabgp/wgfleet.sock")  # as in agent.kernel.exabgp, which costs `run` time
_FAILED = 1


@app.command()
def enroll(
    panel: Annotated[str, typer.Option(help="Address of the panel, https://HOST:PORT.")],
    token: Annotated[str, typer.Option(help="One-time join token.", envvar="WGFLEET_JOIN_TOKEN")],
    ca_fingerprint: Annotated[
        str | None, typer.Option(help="sha256:HEX of the panel's CA, from the join command.")
    ] = None,
    state_dir: StateDir = DEFAULT_STATE_DIR,
    port: Annotated[int, typer.Option(help="TCP port that the agent will listen on.")] = AGENT_PORT,
) -> None:
    """Get this node's certificate from the panel."""
    from wgfleet.agent.enrollment.enroll import (  # noqa: PLC0415 - httpx and cryptography would cost `run` 20 MB
        EnrollError,
        PanelRefusedError,
    )
    from wgfleet.agent.enrollment.enroll import enroll as enroll_agent  # noqa: PLC0415 - loaded when asked for

    try:
        enrolled = enroll_agent(
            panel=panel,
            token=token,
            ca_fingerprint=ca_fingerprint,
            state=StateDirectory(state_dir),
            port=port,
            tell=lambda words: say(words, err=True),
        )
    except PanelRefusedError as refused:
        say(f"enrollment failed: the panel refused ({refused.status}): {sentence(refused.problem)}", err=True)
        raise typer.Exit(_FAILED) from None
    except (EnrollError, OSError) as error:
        say(f"enrollment failed: {error}", err=True)
        raise typer.Exit(_FAILED) from None
    role, option = ("witness", " --witness") if enrolled.witness else ("node", "")
    if state_dir != DEFAULT_STATE_DIR:
        option += f" --state-dir {state_dir}"
    name = enrolled.node_name or enrolled.node_id  # a panel of an earlier release says no name
    say(f"enrolled as {role} {name}; start it with `wgfleet agent run{option}`, or by its unit")


@app.command()
def run(
    *,
    state_dir: StateDir = DEFAULT_STATE_DIR,
    listen: Annotated[str, typer.Option(help="Address to listen on; *: all, of IPv4 and IPv6.")] = EVERYWHERE,
    port: Annotated[int | None, typer.Option(help="TCP port; default: the one given at enrollment.")] = None,
    interval: Annotated[float, typer.Option(help="Minimum time between scans, in seconds.", min=0.1)] = 1.0,
    repair: Annotated[bool, typer.Option("--repair/--report-only", help="Repair drift, or only report it.")] = True,
    confirm: Annotated[
        float,
        typer.Option(
            help="Seconds within which the panel has to be heard after a change of addresses, routes or firewall, "
            "or it is taken back; 0: never.",
            min=0,
        ),
    ] = 10.0,
    down_after_days: Annotated[
        float,
        typer.Option(
            help="Days without a panel after which the interfaces go down, until one is heard again; 0: never.", min=0
        ),
    ] = 0.0,
    witness: Annotated[
        bool,
        typer.Option(
            "--witness",
            help="Only look at nodes for the panel: without WireGuard, without privileges, for any machine.",
        ),
    ] = False,
    backend: Annotated[Backend, typer.Option(help="Kind of WireGuard to use.")] = "auto",
) -> None:
    """Run the agent until it is stopped; its interfaces keep working without it."""
    settings = AgentSettings(
        state_dir=state_dir,
        listen=listen,
        port=port,
        interval_s=interval,
        repair=repair,
        confirm_s=confirm,
        down_after_days=down_after_days,
        witness=witness,
        backend=backend,
    )
    # The same process goes on as the agent, without this program's libraries in its memory. `-P`: nothing is imported
    # from the directory that it was started in, where others may be able to write.
    os.execv(  # noqa: S606 - no shell is wanted
        sys.executable, [sys.executable, "-P", "-m", "wgfleet.agent", settings.to_json()]
    )


@app.command()
def announce(
    network: Annotated[
        list[str], typer.Option(help="Announce addresses of this network, such as 203.0.113.0/24; may be repeated.")
    ],
    socket: Annotated[Path, typer.Option(help="Where the agent asks what exabgp announces.")] = EXABGP_SOCKET,
) -> None:
    """Announce the floating addresses of this machine by exabgp, which runs this as a process of its own."""
    from wgfleet.agent import announcing  # noqa: PLC0415 - netlink would cost `run` and `enroll` time

    try:
        announcing.announce([ip_network(each) for each in network], socket)
    except PermissionError:
        say(
            f"addresses are not announced: no permission to make the socket {socket}: run this as exabgp's user, who "
            "owns its directory (docs/floating.md), or give another one with --socket",
            err=True,
        )
        raise typer.Exit(_FAILED) from None
    except FileNotFoundError:
        say(
            f"addresses are not announced: there is no directory for the socket {socket}: make {socket.parent}, or "
            "give another one with --socket",
            err=True,
        )
        raise typer.Exit(_FAILED) from None
    except (ValueError, OSError) as error:
        say(f"addresses are not announced: {error}", err=True)
        raise typer.Exit(_FAILED) from None
