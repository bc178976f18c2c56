"""Taking what the agent has put on a machine away again: its interfaces, rules, addresses and, at last, its state.

For a person on the machine, whether or not there is a panel. Never beside an agent that runs, which would put it back.
"""

from collections.abc import Collection

from wgfleet.agent import overview
from wgfleet.agent.interfaces.address_record import boot_id
from wgfleet.agent.interfaces.admission import RefusedError
from wgfleet.agent.interfaces.supervisor import InterfaceSupervisor
from wgfleet.agent.interfaces.tasks import Watches
from wgfleet.agent.kernel import backbone_links, relay_table
from wgfleet.agent.kernel.machine import Machine, check_root
from wgfleet.agent.state.confirmed import ConfirmedFiles
from wgfleet.agent.state.files import DamagedFiles
from wgfleet.agent.state.identity import StateDirectory
from wgfleet.agent.state.journal import Journal
from wgfleet.agent.state.ledger import Ledger
from wgfleet.agent.state.relay_files import BootClock, RelayFiles
from wgfleet.protocol.ids import InterfaceName


async def forget(state: StateDirectory, names: Collection[InterfaceName]) -> list[str]:
    """Remove interfaces with all that goes with them; return what was left alone, a sentence each.

    ValueError, saying what to do, while the agent runs; KernelError where the machine refuses.
    """
    check_root()
    if pids := overview.processes(state):
        raise ValueError(
            f"the agent runs (process {pids[0]}) and would put it back; stop it first: "
            "systemctl disable --now wgfleet-agent"
        )
    damaged = DamagedFiles()
    journal, ledger = Journal(state.desired, damaged), Ledger(state.ledger, damaged)
    ledger.load()
    journal.load()
    left: list[str] = []
    for name in names:
        machine = Machine(overview.backend_of(name), state.root)
        supervisor = InterfaceSupervisor(machine, journal, ledger, _no_watches)
        try:
            await supervisor.delete(name, None, None)
        except RefusedError as refused:
            left.append(refused.refusal.detail)
        finally:
            supervisor.floating.close()
        journal.remove(name)
        ConfirmedFiles(state.desired, damaged).remove(name)
        RelayFiles(state.relays, damaged, BootClock(boot_id())).remove(name)
    others = set(overview.interfaces_of(state))
    if not others:
        await backbone_links.remove_others(Machine("kernel", state.root), (), ())
    await relay_table.remove_others(others)
    return left


async def leave(state: StateDirectory) -> list[str]:
    """Forget all interfaces, and who this agent was; return what was left alone, a sentence each."""
    left = await forget(state, overview.interfaces_of(state))
    for directory in (state.desired, state.relays):
        for path in directory.glob("*"):
            path.unlink()
        if directory.is_dir():
            directory.rmdir()
    for path in (
        state.agent, state.key, state.certificate, state.ca, state.ledger, state.panels, state.panel_sources,
        state.revoked, state.time_alone, state.usage, state.quotas, state.adoptions,
    ):  # fmt: skip
        path.unlink(missing_ok=True)
    if not any(state.root.iterdir()):
        state.root.rmdir()
    else:
        names = ", ".join(sorted(path.name for path in state.root.iterdir()))
        left.append(f"{state.root} stays, with what the agent did not put there, or set aside: {names}")
    return left


def _no_watches(*_: object) -> Watches:
    raise AssertionError("an interface that is removed is not watched")
