"""`wgfleet agent status`, `adopt`, `forget` and `leave`: what the agent has on this machine; no panel is asked."""

import asyncio
import os
import shlex
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import msgspec
import typer

from wgfleet.agent.state.identity import DEFAULT_STATE_DIR, StateDirectory
from wgfleet.cli.confirmation import Yes, go_on
from wgfleet.cli.directories import directory
from wgfleet.cli.output import AsJson, ahead, say, show_json, show_table, text
from wgfleet.cli.tree import complain
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.quotes import quoted

if TYPE_CHECKING:
    from wgfleet.agent.overview import AgentOverview, InterfaceOverview

FAILED, USAGE = 1, 2
WITNESS_STATE_DIR = "/var/lib/wgfleet-witness"  # of its unit
COLUMNS = ("interface", "link", "port", "peers", "live", "generation")
MOST_NAMED = 10  # of those who would be cut off

# Not checked by Typer, whose error for a directory of root's says nothing of root.
StateDir = Annotated[Path, typer.Option("--state-dir", help="Where the agent keeps its state.", parser=directory)]
T = TypeVar("T")


def status(state_dir: StateDir = DEFAULT_STATE_DIR, *, as_json: AsJson = False) -> None:
    """Show the agent of this machine and its interfaces, without asking the panel; exit code 1 if anything is wrong."""
    found = _overview(state_dir)
    wrong = _wrong(found)
    if as_json:
        show_json({**msgspec.to_builtins(found), "wrong": wrong})
    else:
        role = "witness" if found.witness else "node"
        runs = f"runs as process {found.pids[0]}" if found.pids else "does not run"
        say(f"the agent of {role} {found.node_id} {runs}; its panel: {found.panel or 'unknown'}")
        if found.certificate_expires_at is not None:
            ends = datetime.fromtimestamp(found.certificate_expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            say(f"its certificate ends in {ahead(ends)} ({text(ends)})")
        if found.interfaces:
            show_table([_row(each) for each in found.interfaces], COLUMNS)
        for each in wrong:
            say(f"wrong: {each}")
    if wrong:
        raise typer.Exit(FAILED)


def adopt(
    interface: Annotated[str, typer.Argument(help="Name of the link, such as wg0.")],
    *,
    remove_others: Annotated[
        bool, typer.Option("--remove-others", help="Also if some of its peers are not in the config: they lose access.")
    ] = False,
    state_dir: StateDir = DEFAULT_STATE_DIR,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Have the agent take over a WireGuard interface that another program made, as it runs: no session ends.

    Within an hour, once the panel has a config of that name, key and port on this node. The import makes such a config.
    """
    from wgfleet.agent import adopting  # noqa: PLC0415 - loaded when asked for

    state, name = StateDirectory(state_dir), InterfaceName(interface)
    _check_readable(state_dir)
    found = _run(adopting.candidate(state, name))
    live = len(found.live)
    count = f"{found.peers} peer{'s' * (found.peers != 1)}, {live} {'uses' if live == 1 else 'use'} it now"
    say(f"{name}: port {found.listen_port}, {count}", err=True)
    say(f"its public key, which the config must have too: {found.public_key}", err=True)
    if remove_others:
        say("peers that the config does not have will lose access", err=True)
    if not yes:
        go_on(f"Have the agent take over {name} when its panel has that config here?")
    try:
        adopting.ask(state, name, remove_others=remove_others)
    except OSError as error:
        _end(f"{error.filename}: {error.strerror}")
    if as_json:
        asked = {"interface": name, "listen_port": found.listen_port, "public_key": found.public_key}
        show_json({**asked, "peers": found.peers, "live": live, "remove_others": remove_others})
    say(
        f"asked; it holds for an hour. wgfleet config show {name} says how it went, where the panel is. Keep what made "
        f"the link from making it again at the next start, without stopping it now: systemctl disable wg-quick@{name}",
        err=True,
    )


def forget(
    interface: Annotated[list[str] | None, typer.Argument(help="Names of interfaces; none: all.")] = None,
    *,
    state_dir: StateDir = DEFAULT_STATE_DIR,
    yes: Yes = False,
) -> None:
    """Remove what the agent has put on this machine: interfaces, rules, addresses. It stays enrolled.

    An agent that is started again gets everything from its panel. Says first who is cut off. Stop the agent before.
    """
    found = _overview(state_dir)
    there = {each.name: each for each in found.interfaces}
    if unknown := [name for name in interface or () if name not in there]:
        _end(f"the agent has no interface {quoted(unknown[0])} here; it has: {', '.join(there) or 'none'}", USAGE)
    chosen = [there[InterfaceName(name)] for name in dict.fromkeys(interface or there)]
    if not chosen:
        say("the agent has put nothing on this machine", err=True)
        return
    _ask(found, chosen, f"Remove {', '.join(each.name for each in chosen)} from this machine?", yes=yes)
    from wgfleet.agent import leaving  # noqa: PLC0415 - loaded when asked for

    for each in _run(leaving.forget(StateDirectory(state_dir), [each.name for each in chosen])):
        say(f"warning: {each}", err=True)
    say(f"removed: {', '.join(each.name for each in chosen)}", err=True)


def leave(*, state_dir: StateDir = DEFAULT_STATE_DIR, yes: Yes = False) -> None:
    """Take this machine out of its fleet: remove all that the agent has put on it, and who it was.

    Says first who is cut off. Stop the agent before.
    """
    found = _overview(state_dir)
    _ask(found, list(found.interfaces), f"Have this machine forget that it is {found.node_id}?", yes=yes)
    from wgfleet.agent import leaving  # noqa: PLC0415 - loaded when asked for

    for each in _run(leaving.leave(StateDirectory(state_dir))):
        say(f"warning: {each}", err=True)
    say(f"this machine has left; where the panel is: wgfleet node delete {found.node_id}", err=True)


def _overview(state_dir: Path) -> "AgentOverview":
    from wgfleet.agent.overview import overview  # noqa: PLC0415 - netlink would cost `run` and `enroll` time

    _check_readable(state_dir)
    return _run(overview(StateDirectory(state_dir)))


def _check_readable(state_dir: Path) -> None:
    if state_dir.exists() and not os.access(state_dir, os.R_OK | os.X_OK):
        _end(f"{state_dir} is for root alone; run it as root")


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run it; end the program with one line where it cannot be done."""
    from wgfleet.agent.kernel.commands import KernelError  # noqa: PLC0415 - loaded when asked for

    try:
        return asyncio.run(work)
    except PermissionError as error:
        _end(f"{error.filename}: {error.strerror}; run it as root")
    except (ValueError, KernelError, OSError) as error:
        _end(error)


def _end(why: object, code: int = FAILED) -> NoReturn:
    complain(why)
    raise typer.Exit(code) from None


def _ask(found: "AgentOverview", chosen: "list[InterfaceOverview]", question: str, *, yes: bool) -> None:
    """Say whom it concerns, and ask; scripts say --yes."""
    live = 0
    for each in chosen:
        names = ", ".join(each.live[:MOST_NAMED])
        more = f" and {len(each.live) - MOST_NAMED} more" if len(each.live) > MOST_NAMED else ""
        uses = f", {len(each.live)} use it now: {names}{more}" if each.live else ", none uses it now"
        say(f"{each.name}: {each.peers} peers{uses}", err=True)
        live += len(each.live)
    if live:
        say(
            f"those {live} are cut off, until another node has them. To move them first, where the panel is: "
            f"wgfleet config unassign CONFIG {found.node_id} --wait",
            err=True,
        )
    if not yes:
        go_on(question)


def _wrong(found: "AgentOverview") -> list[str]:
    wrong = list(found.notes)
    if not found.pids:
        wrong.append(f"the agent does not run: {_start_of(found)}")
    wrong += [f"{each.name} is {each.link}" for each in found.interfaces if each.link != "up" and each.enabled]
    return wrong


def _start_of(found: "AgentOverview") -> str:
    """Return how this agent is started: by its unit, or by hand with its own directory."""
    unit, usual = ("wgfleet-witness", WITNESS_STATE_DIR) if found.witness else ("wgfleet-agent", DEFAULT_STATE_DIR)
    options = " --witness" * found.witness
    if found.witness or found.state_dir != str(usual):
        options += f" --state-dir {shlex.quote(found.state_dir)}"
    by_hand = f"wgfleet agent run{options}"
    return f"systemctl start {unit}, or {by_hand}" if found.state_dir == str(usual) else by_hand


def _row(each: "InterfaceOverview") -> dict[str, Any]:
    row = {"interface": each.name, "link": each.link, "port": each.listen_port, "peers": each.peers}
    return {**row, "live": len(each.live), "generation": each.generation}
