"""Provider `command`: the contract, and a program that misbehaves in each way that one can."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from wgfleet.panel.address_providers import AddressNode, AddressProvider, plugins
from wgfleet.panel.address_providers.command import CommandOptions, CommandProvider
from wgfleet.panel.errors import Invalid, PermanentError, TransientError
from wgfleet.panel.settings import SettingsError, load_settings
from wgfleet.testing.address_provider import AddressProviderContract

SECRET = "token-of-the-program"  # noqa: S105 - opens nothing
PROGRAM = Path(__file__).parent / "command" / "program.py"
ADDRESS = "203.0.113.10"


class CommandEnvironment:
    """A copy of the program, allowed under the name `move`, and its state."""

    secret = SECRET
    addresses = (ADDRESS, "2001:db8::10")
    nodes = (AddressNode("n1", "fra1", ("192.0.2.1",)), AddressNode("n2", "ams1", ("192.0.2.2",)))

    def __init__(self, folder: Path) -> None:
        self.program, self.file = folder / "move", folder / "state.json"
        self.program.write_text(f"#!{sys.executable} -SP\n{PROGRAM.read_text()}")
        self.program.chmod(0o755)
        self.file.write_text(json.dumps({"token": SECRET, "holders": {}, "known": ["n1", "n2"], "mode": "works"}))
        plugins.allow([], {"move": [str(self.program), str(self.file), "--fixed"]})

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_text())
        return found

    def set(self, **values: object) -> None:
        self.file.write_text(json.dumps({**self.state, **values}))

    def provider(self, token: str = SECRET, timeout_s: float = 10.0) -> AddressProvider:
        options = CommandOptions(
            program="move", values={"zone": "fra"}, secrets={"token": SecretStr(token)}, timeout_s=timeout_s
        )
        return CommandProvider(options)

    def refused(self) -> AddressProvider:
        return self.provider(token=f"{SECRET}-revoked")

    def unreachable(self) -> AddressProvider:
        self.set(mode="later")
        return self.provider()

    def place(self, address: str, node: AddressNode | None) -> None:
        self.set(holders={**self.state["holders"], address: "somebody else's" if node is None else node.id})

    def holder(self, address: str) -> AddressNode | None:
        return next((node for node in self.nodes if node.id == self.state["holders"].get(address)), None)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[CommandEnvironment]:
    yield CommandEnvironment(tmp_path)
    plugins.allow([])


class TestCommand(AddressProviderContract):
    plugin = "command"

    @pytest.fixture
    def environment(self, environment: CommandEnvironment) -> CommandEnvironment:
        return environment


def test_a_program_gets_all_by_stdin_and_nothing_of_the_panels_environment(
    environment: CommandEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WGFLEET_STORE__URL", "postgresql://secret")
    environment.provider().assign(ADDRESS, environment.nodes[1])
    (asked,) = environment.state["asked"]
    assert asked == {
        "version": 1,
        "action": "assign",
        "address": ADDRESS,
        "node": {"id": "n2", "name": "ams1", "endpoint_addresses": ["192.0.2.2"]},
        "values": {"zone": "fra"},
        "secrets": {"token": SECRET},
        "arguments": ["--fixed"],
        "environment": ["LC_ALL", "PATH"],
    }


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("sleeps", "did not end in time"),
        ("leaves", "did not end in time"),
        ("floods", "more than 64 KB"),
        ("garbage", "does not say who has 203.0.113.10"),
        ("dies", "signal 9"),
    ],
)
def test_a_program_that_fails_is_tried_again(environment: CommandEnvironment, mode: str, words: str) -> None:
    environment.set(mode=mode)
    with pytest.raises(TransientError, match=words) as failure:
        environment.provider(timeout_s=2.0 if "time" in words else 10.0).holder(ADDRESS, environment.nodes)
    assert str(environment.file) not in str(failure.value), "by its name, not by where it is on the panel's machine"
    assert _running(environment) == []


def _running(environment: CommandEnvironment) -> list[str]:
    """Return the processes of the program that are left; a killed one may take a moment to go."""
    for _ in range(1000):
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(environment.file).encode() in line:
                found.append(entry.name)
        if not found:
            break
        time.sleep(0.02)
    return found


def test_a_program_says_when_to_come_back(environment: CommandEnvironment) -> None:
    environment.set(mode="later")
    with pytest.raises(TransientError, match="the cloud is busy") as failure:
        environment.provider().holder(ADDRESS, environment.nodes)
    assert failure.value.retry_after_s == 7


def test_a_secret_that_the_program_repeats_is_not_passed_on(environment: CommandEnvironment) -> None:
    environment.set(mode="repeats")
    with pytest.raises(PermanentError) as failure:
        environment.provider().holder(ADDRESS, environment.nodes)
    assert "token (secret) [31mrefused (exit code 77)" in str(failure.value)


def test_a_secret_that_begins_like_another_is_replaced_as_a_whole(environment: CommandEnvironment) -> None:
    environment.set(mode="repeats")
    secrets = {"user": SecretStr(SECRET[:5]), "token": SecretStr(SECRET)}
    with pytest.raises(PermanentError) as failure:
        CommandProvider(CommandOptions(program="move", secrets=secrets)).holder(ADDRESS, environment.nodes)
    assert "(secret) [31mrefused" in str(failure.value)
    assert SECRET[5:] not in str(failure.value)


@pytest.mark.parametrize("asked", ["1" + "0" * 400, "1e999", "NaN", "true", "-1", '"soon"'])
def test_a_time_that_is_none_leaves_the_words_of_a_program(environment: CommandEnvironment, asked: str) -> None:
    environment.program.write_text(
        f"#!{sys.executable} -SP\nimport sys\n"
        f'sys.stdout.write(\'{{"error": "busy", "retry_after_s": {asked}}}\')\nsys.exit(75)\n'
    )
    with pytest.raises(TransientError, match="busy"):
        environment.provider().holder(ADDRESS, environment.nodes)


def test_a_failure_after_the_address_has_moved_is_seen_as_done(environment: CommandEnvironment) -> None:
    environment.set(mode="fails after")
    provider, node = environment.provider(), environment.nodes[0]
    with pytest.raises(TransientError, match="connection reset"):
        provider.assign(ADDRESS, node)
    assert provider.holder(ADDRESS, environment.nodes) == node


def test_only_programs_of_the_settings_can_be_chosen(environment: CommandEnvironment) -> None:
    found = plugins.installed()
    for name in ("other", str(environment.program), "../move"):
        with pytest.raises(Invalid, match=r"floating\.programs") as refused:
            found.canonical("command", {"program": name})
        assert refused.value.field == "address_options.program"
    assert found.canonical("command", {"program": "move"}) == {"program": "move"}


def test_a_program_that_was_taken_from_the_settings_is_not_run(environment: CommandEnvironment) -> None:
    plugins.allow([])
    with pytest.raises(Invalid, match=r"floating\.programs"):
        plugins.installed().open("command", {"program": "move"})
    assert "asked" not in environment.state


def test_a_program_that_others_can_write_is_not_run(environment: CommandEnvironment) -> None:
    environment.program.chmod(0o775)
    with pytest.raises(PermanentError, match="can be written by others"):
        environment.provider().assign(ADDRESS, environment.nodes[0])
    environment.program.chmod(0o644)
    with pytest.raises(PermanentError, match="must be an executable file"):
        environment.provider().assign(ADDRESS, environment.nodes[0])
    environment.program.unlink()
    with pytest.raises(PermanentError, match="cannot be found"):
        environment.provider().assign(ADDRESS, environment.nodes[0])
    assert "asked" not in environment.state


def test_settings_name_programs_by_absolute_path(tmp_path: Path) -> None:
    file = tmp_path / "panel.toml"
    file.write_text('[floating.programs]\nmove = ["/usr/local/bin/move", "--fast"]\n')
    assert load_settings(file, {}).floating.programs == {"move": ("/usr/local/bin/move", "--fast")}
    for wrong in ('move = ["move"]', "move = []", '"../x" = ["/bin/true"]'):
        file.write_text(f"[floating.programs]\n{wrong}\n")
        with pytest.raises(SettingsError, match="programs"):
            load_settings(file, {})
