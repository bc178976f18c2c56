"""No file of the state directory, whatever became of it, keeps the agent from what the others say."""

import itertools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agent.authority import Authority
from tests.agent.node import Host, Node
from tests.agent.test_faults import fill, status, wireguard_go
from tests.agent.test_push import applied, refused
from tests.agent.values import peers, whole
from tests.agent.values import settings as interface_settings
from tests.waiting import eventually
from wgfleet.agent.enrollment.certificates import make_request
from wgfleet.agent.state.files import DamagedFiles
from wgfleet.agent.state.identity import AgentFile, StateDirectory
from wgfleet.agent.state.journal import Journal
from wgfleet.agent.state.ledger import Ledger
from wgfleet.protocol.desired import DesiredInterface, delta_between
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName, NodeId

WG0, WG1 = InterfaceName("wg0"), InterfaceName("wg1")
KEPT = whole(4, interface_settings("wg1", config_id="config-2"), peers(2))
FIRST = whole(1, having=peers(2))
HISTORY = [FIRST, *(msgspec.structs.replace(FIRST, generation=Generation(g), peers=peers(g)) for g in (2, 3))]


def replaced_by_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_text("x")


def replaced_by_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replaced_by_a_link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def with_an_unknown_field(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"{", b'{"a_field_of_tomorrow":1,', 1))


def with_a_wrong_type(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"{", b'{"generation":"x","owned":7,"port":"p",', 1))


KINDS: dict[str, Callable[[Path], object]] = {
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "empty": lambda path: path.write_bytes(b""),
    "null": lambda path: path.write_bytes(b"null"),
    "list": lambda path: path.write_bytes(b"[]"),
    "deep": lambda path: path.write_bytes(b"[" * 100_000),
    "not text": lambda path: path.write_bytes(b'{"type":"\xff\xfe"}'),
    "unknown field": with_an_unknown_field,
    "wrong type": with_a_wrong_type,
    "directory": replaced_by_a_directory,
    "fifo": replaced_by_a_fifo,
    "link to nothing": replaced_by_a_link_to_nothing,
    "mode 0": lambda path: path.chmod(0),
    "mode 666": lambda path: path.chmod(0o666),
}
FILES = [
    *("desired/wg0.json", "desired/wg0.journal", "desired/wg0.json.tmp", "ledger.json", "agent.json"),
    *("tls.key", "tls.crt", "tls.crt.new", "ca.crt"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def make_state(root: Path, authority: Authority) -> StateDirectory:
    state = StateDirectory(root / "state")
    state.make()
    key, csr = make_request("node-1")
    certificate = authority.sign(csr, "node-1").encode()
    state.write_certificate(key=key, certificate=certificate, ca=authority.pem.encode())
    state.agent.write_bytes(msgspec.json.encode(AgentFile(NodeId("node-1"), 51900, "https://panel.invalid")))
    journal, ledger = Journal(state.desired), Ledger(state.ledger)
    journal.load()
    for desired in (FIRST, KEPT):
        journal.write(desired)
        ledger.add(desired.settings.name, desired.settings.config_id, "boot-1")
    for before, after in itertools.pairwise(HISTORY):
        journal.append(delta_between(before, after), after)
    (state.desired / "wg0.json.tmp").write_bytes(b"{")
    (state.root / "tls.crt.new").write_bytes(certificate)
    return state


def load(state: StateDirectory) -> tuple[DamagedFiles, dict[InterfaceName, DesiredInterface], Ledger, AgentFile | None]:
    """Do what an agent does at its start."""
    damaged = DamagedFiles()
    state.make(damaged)
    state.finish_renewal(damaged)
    me = state.recover_agent(damaged)
    ledger = Ledger(state.ledger, damaged)
    ledger.load()
    return damaged, Journal(state.desired, damaged).load(), ledger, me


def check(state: StateDirectory, file: str) -> None:
    before = {p.name for p in state.root.rglob("*")}
    damaged, found, ledger, me = load(state)
    assert found[WG1] == KEPT
    if WG0 in found:
        assert found[WG0] in HISTORY
    else:
        assert any("wg0.json is damaged" in note and "the panel sends" in note for note in damaged.notes)
    if ledger.lost:
        assert any("ledger.json is damaged" in note for note in damaged.notes)
    else:
        assert ledger.owned()[WG0].config_id == FIRST.settings.config_id
    assert me is None or me.node_id == "node-1"
    kept = {p.name for p in state.root.rglob("*") if ".damaged-" in p.name}
    if any(f"{Path(file).name} is damaged" in note and "kept as" in note for note in damaged.notes):
        assert any(name.startswith(f"{Path(file).name}.damaged-") for name in kept - before)
    # What comes next is stored, and read again.
    journal = Journal(state.desired)
    journal.load()
    again = msgspec.structs.replace(FIRST, generation=Generation(9))
    journal.write(again)
    journal.append(delta_between(again, newer := msgspec.structs.replace(again, generation=Generation(10))), newer)
    ledger.add(WG0, ConfigId("config-1"), "boot-2")
    damaged, found, ledger, _ = load(state)
    assert found == {WG0: newer, WG1: KEPT}
    assert ledger.owned()[WG0].boot == "boot-2"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", KINDS)
def test_any_damage_to_any_file_is_set_aside_and_the_rest_serves(
    tmp_path: Path, files: Authority, file: str, kind: str
) -> None:
    state = make_state(tmp_path, files)
    KINDS[kind](state.root / file)
    check(state, file)


@settings(deadline=None, max_examples=60)
@given(file=st.sampled_from(FILES), share=st.integers(0, 1000), tail=st.one_of(st.none(), st.binary(max_size=40)))
def test_any_bytes_in_any_file_are_set_aside_and_the_rest_serves(
    files: Authority, file: str, share: int, tail: bytes | None
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        state = make_state(Path(directory), files)
        raw = (state.root / file).read_bytes()
        cut = len(raw) * share // 1000
        (state.root / file).write_bytes(raw[:cut] + (bytes(len(raw) - cut) if tail is None else tail))
        check(state, file)


@pytest.mark.parametrize("directory", ["desired", "."])
@pytest.mark.parametrize("mode", [0o000, 0o777])
def test_a_directory_of_a_wrong_mode_is_made_right(tmp_path: Path, files: Authority, directory: str, mode: int) -> None:
    state = make_state(tmp_path, files)
    (state.root / directory).chmod(mode)
    check(state, "wg0.json")
    assert (state.root / directory).stat().st_mode & 0o777 == 0o700


def test_a_file_in_the_place_of_the_directory_is_set_aside(tmp_path: Path, files: Authority) -> None:
    state = make_state(tmp_path, files)
    state.desired.rename(tmp_path / "elsewhere")
    state.desired.write_text("not a directory")
    damaged, found, _, _ = load(state)
    assert found == {}
    assert any("desired is damaged" in note for note in damaged.notes)


def test_what_a_person_names_as_the_directory_and_is_none_is_left_alone(tmp_path: Path) -> None:
    named = tmp_path / "disk.img"
    named.write_text("somebody's")
    with pytest.raises(OSError, match=r"disk\.img is not a directory; give one"):
        StateDirectory(named).make()
    assert named.read_text() == "somebody's"
    assert list(tmp_path.iterdir()) == [named]


def test_a_journal_that_cannot_be_read_to_its_end_is_said(tmp_path: Path, files: Authority) -> None:
    state = make_state(tmp_path, files)
    journal = state.desired / "wg0.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + b"\0" * 20 + b"\n" + lines[1])
    damaged, found, _, _ = load(state)
    assert found[WG0] == HISTORY[1]
    (note,) = damaged.notes
    assert "wg0 goes on from generation 2" in note
    assert next(state.desired.glob("wg0.journal.damaged-*")).read_bytes().endswith(lines[1])
    assert load(state)[1][WG0] == HISTORY[1]


def test_the_id_of_the_node_is_read_from_its_certificate_when_its_file_is_damaged(
    tmp_path: Path, files: Authority
) -> None:
    state = make_state(tmp_path, files)
    state.agent.write_bytes(b"\0")
    assert load(state)[3] == AgentFile(NodeId("node-1"), 51900, "")
    assert load(state)[0].notes == ()


def test_an_agent_that_was_never_enrolled_says_so(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    with pytest.raises(ValueError, match="run `wgfleet agent enroll` first"):
        load(state)


def test_files_that_cannot_be_renamed_are_said_and_the_rest_is_read(
    tmp_path: Path, files: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = make_state(tmp_path, files)
    for each in (state.desired / "wg0.json", state.ledger, state.agent):
        each.write_bytes(b"")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    for method in ("rename", "replace", "unlink", "chmod"):
        monkeypatch.setattr(Path, method, refuse)
    damaged, found, ledger, me = load(state)
    assert found == {WG1: KEPT}
    assert ledger.lost
    assert me is not None
    assert sum("could not be renamed (Read-only file system)" in note for note in damaged.notes) >= 3
    ledger.claim(WG0, ConfigId("config-1"), "boot-1")
    assert WG0 in ledger.owned()


def two_interfaces(node: Node) -> tuple[DesiredInterface, DesiredInterface]:
    first = whole(1, interface_settings("wg0"), peers(3))
    second = whole(1, interface_settings("wg1", config_id="config-2", addresses=("10.9.0.1/16",)), peers(3))
    second = msgspec.structs.replace(second, settings=msgspec.structs.replace(second.settings, listen_port=51821))
    for each in (first, second):
        applied(node, each, each.settings.name)
    return first, second


@pytest.mark.lab
def test_a_machine_boots_with_the_interfaces_whose_files_are_well(node: Node) -> None:
    first, second = two_interfaces(node)
    node.stop()
    for name in ("wg0", "wg1"):
        node.host.run("ip", "link", "del", name)
    (node.state.desired / "wg0.json").write_bytes(bytes(100))
    node.start()
    eventually(lambda: set(node.host.run("wg", "show", "wg1", "peers", check=False).split()) == second.peers.keys())
    (note,) = status(node).notes
    assert "wg0.json is damaged" in note
    assert [each.name for each in status(node).interfaces] == ["wg1"]
    assert applied(node, first).verified


@pytest.mark.lab
@pytest.mark.parametrize("lost", [("ledger.json",), ("ledger.json", "desired/wg0.json")])
def test_interfaces_with_our_keys_are_ours_when_the_ledger_is_lost(node: Node, lost: tuple[str, ...]) -> None:
    first, second = two_interfaces(node)
    process = wireguard_go(node)
    node.stop()
    node.host.run("ip", "link", "del", "wg1")
    node.host.run("ip", "link", "add", "wg1", "type", "bridge")
    for file in lost:
        (node.state.root / file).write_bytes(b"?")
    node.start()
    assert applied(node, msgspec.structs.replace(first, generation=Generation(2))).verified
    assert wireguard_go(node) == process
    assert refused(node, second, "wg1").reason == "foreign_interface"
    assert "bridge" in node.host.run("ip", "-d", "link", "show", "wg1")


@pytest.mark.lab
@pytest.mark.parametrize("file", ["tls.crt", "tls.key", "ca.crt"])
def test_without_a_usable_identity_the_interfaces_are_kept_until_the_agent_is_enrolled_again(
    node: Node, file: str
) -> None:
    first, _ = two_interfaces(node)
    node.stop()
    node.host.run("ip", "link", "del", "wg0")
    good = (node.state.root / file).read_bytes()
    (node.state.root / file).write_bytes(b"-----BEGIN NOTHING-----")
    node.start(wait=False)
    eventually(lambda: set(node.host.run("wg", "show", "wg0", "peers", check=False).split()) == first.peers.keys())
    eventually(lambda: any("enroll the agent again" in str(line) for line in node.log()))
    (node.state.root / file).write_bytes(good)
    eventually(node.answers, 20)
    assert [each.name for each in status(node).interfaces] == ["wg0", "wg1"]


@pytest.mark.lab
def test_an_agent_starts_and_serves_from_a_full_disk(
    small_disk: Path, make_host: Callable[[], Host], make_node: Callable[..., Node]
) -> None:
    node = make_node(host=make_host(), state=small_disk / "state")
    node.start()
    first, second = two_interfaces(node)
    node.stop()
    for name in ("wg0", "wg1"):
        node.host.run("ip", "link", "del", name)
    node.state.ledger.write_bytes(b"")
    (node.state.desired / "wg0.json").write_bytes(b"")
    for log in node.state.root.glob("*.log"):
        log.unlink()
    fill(small_disk)
    node.start()
    eventually(lambda: set(node.host.run("wg", "show", "wg1", "peers", check=False).split()) == second.peers.keys())
    assert refused(node, first).reason == "disk"
    (small_disk / "filler").unlink()
    assert applied(node, first).verified
