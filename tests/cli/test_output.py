"""What is printed: nothing that a terminal obeys, and no key where others, or a link, can have it."""

import errno
import io
import json
import re
import stat
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress

from wgfleet.cli import (
    address,
    audit,
    backup,
    certificate,
    config,
    config_health,
    dns,
    fields,
    key,
    listing,
    node,
    operation,
    output,
    peer,
    user,
    waiting,
)
from wgfleet.cli.client import CallFailed
from wgfleet.cli.config_health import MOST_NAMES, first_look_warnings, owed_warnings
from wgfleet.cli.output import create_secret_file, text, write_secret_file
from wgfleet.cli.plain_text import plain
from wgfleet.cli.tree import complain


@pytest.mark.parametrize("sent", ["\x1b[2J", "\x9b31m", "\r", "\x08", "\x00", "\u202e", "\x7f"])
def test_what_a_terminal_would_obey_is_replaced(sent: str) -> None:
    for shown in (plain(f"a{sent}b"), text(f"a{sent}b"), text([f"a{sent}b"]), text({"summary": f"a{sent}b"})):
        assert sent[0] not in shown
    assert plain("ä 中\n\t") == "ä 中\n\t"


def test_addresses_and_names_are_no_emoji_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    odd = ["fd00:a:b::1", "2001:db8:100:cd::1", "[::1]:51820", "[bold]", "\\[/x]", "x\\", ":smile:"]
    output.show_table([{"name": each, "of": [each]} for each in odd], ("name", "of"))
    for each in odd:
        fields.show_fields({"name": each}, as_json=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [[each, each] for each in odd] + [["name", each] for each in odd]


def test_names_are_shown_as_they_are_written_and_programs_read_the_very_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("\u0639\u0644\u06cc\u200c\u0631\u0636\u0627", "\U0001f468\u200d\U0001f467", "\u200f\u05d3"):
        assert plain(name) == name
    name = "a\u202eb\U000e0067\x1b\u200d"
    output.show_json({"name": name})
    printed = capsys.readouterr().out
    assert json.loads(printed)["name"] == name
    assert not {"\u202e", "\U000e0067", "\x1b"} & set(printed)


def test_every_command_prints_times_as_tables_do() -> None:
    """A time in a sentence goes through `text`, or people get fractions of seconds and a T."""
    sources = sorted(Path(output.__file__).parent.glob("*.py"))
    raw = [
        (source.name, found)
        for source in sources
        for found in re.findall(r"\{\w+\[['\"](?:\w+_)?(?:at|since|until)['\"]\]\}", source.read_text())
    ]
    assert len(sources) > 20
    assert raw == []


def test_a_file_with_a_key_is_new_and_private(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("before")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for taken in (target, tmp_path / "link", tmp_path / "dangling"):
        with pytest.raises(OSError, match="exists"):
            create_secret_file("key", taken)
    assert target.read_text() == "before"
    create_secret_file("key", tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_a_file_that_cannot_be_written_whole_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """As on a full disk."""
    target, link = tmp_path / "peers.zip", tmp_path / "link"
    target.write_bytes(b"before")
    link.symlink_to(target)
    with pytest.raises(OSError, match="/dev/full") as full:
        write_secret_file(b"keys", Path("/dev/full"))
    assert full.value.filename == "/dev/full"
    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "no space")))
        with pytest.raises(OSError, match="no space"):
            write_secret_file(b"keys", target)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"peers.zip": b"before", "link": b"before"}
    for path in (target, link):
        write_secret_file(b"keys of " + path.name.encode(), path)
        assert target.read_bytes() == b"keys of " + path.name.encode()
    assert link.is_symlink()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(OSError, match="Too many levels") as circle:
        write_secret_file(b"keys", tmp_path / "circle")
    assert circle.value.filename == str(tmp_path / "circle")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    capsysbinary.readouterr()
    write_secret_file(b"PK\x03\x04", Path("-"))
    assert capsysbinary.readouterr().out == b"PK\x03\x04"
    assert not Path("-").exists()


def test_what_is_said_of_an_operation_under_way_is_text_and_no_markup() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with Progress(*waiting.COLUMNS, console=console) as bars:
        bar = bars.add_task("waiting", total=None, counts="")
        document = {"progress": {}, "step": "[/red] \x1b]0;x\x07", "state": "running", "error": "[bold]"}
        waiting._draw(bars, bar, document)  # noqa: SLF001 - what `follow` shows on each event
        bars.refresh()
    assert "[/red]" in screen.getvalue()
    assert "\x1b]0;x\x07" not in screen.getvalue()


def test_a_warning_of_changes_that_do_not_arrive_names_a_few_peers_and_counts_the_rest() -> None:
    owed = {"late": True, "generations": 1_000_001, "peers": 3, "since": "now", "reason": "away"}
    owed["revocations"] = [f"peer{number}" for number in range(MOST_NAMES + 5)]
    (said,) = owed_warnings([{"node_name": "fra1", "owed": owed}])
    assert f"peer{MOST_NAMES - 1} and 5 more" in said
    assert "of 3 peers" in said
    assert "000" not in said, "generations are no changes that a person made"


def test_a_node_that_nobody_reaches_is_warned_of_and_so_is_one_that_nobody_could_look_at() -> None:
    looks = {"fra1": "answered", "ams1": "unreached", "par1": "unproven", "old1": None}
    ams1, par1 = first_look_warnings([{"node_name": name, "first_look": look} for name, look in looks.items()])
    assert "ams1" in ams1
    assert "not published" in ams1
    assert "par1" in par1
    assert "agent's word" in par1


def test_the_list_of_operations_says_why_one_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A drain whose node dies fails by what its result says."""

    class Panel:
        def all(self, path: str, **_query: str | None) -> list[dict[str, Any]]:
            if path != "/api/operations":
                return [{"id": "n1", "name": "fra1"}] if path == "/api/nodes" else []
            base: dict[str, Any] = {"id": "1", "step": None, "progress": {}, "created_at": "2026-11-26T10:33:21Z"}
            base |= {"config_id": None, "node_id": "n1"}
            died = {"state": "failed", "error": None, "result": {"reason": "the node is down"}}
            tried = {"state": "running", "error": "no room", "result": None}
            done = {"state": "succeeded", "error": None, "result": {"reason": "not shown"}}
            return [base | {"kind": "drain"} | each for each in (died, tried, done)]

    monkeypatch.setattr(listing, "panel", lambda: nullcontext(Panel()))
    operation.list_operations()
    _, died, tried, done = capsys.readouterr().out.splitlines()
    assert "the node is down" in died
    assert "fra1" in died
    assert "no room" in tried
    assert "not shown" not in done


def test_a_drain_that_moves_nobody_in_one_config_is_waited_for_in_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base: dict[str, Any] = {
        "kind": "drain",
        "progress": {},
        "step": "",
        "error": None,
        "cancelled_by": None,
        "finished_at": "2026-11-26T10:33:21Z",
    }
    ended = {
        "1": base | {"id": "1", "state": "failed", "result": {"reason": "nobody answered", "left": ["anna"]}},
        "2": base | {"id": "2", "state": "succeeded", "result": {"sessions_taken_over": 7}},
    }
    client = SimpleNamespace(
        call=lambda *_args, **_query: {"items": [{"id": "1"}, {"id": "2"}]},
        get=lambda path, **_query: ended[path[-1]],
        events=lambda *_kinds: iter([None]),
    )
    monkeypatch.setattr(node, "panel", lambda: nullcontext(client))
    with pytest.raises(CallFailed, match="operation 1 has failed: nobody answered"):
        node.drain("fra1", wait=True)
    shown = capsys.readouterr()
    assert "left behind: anna" in shown.err
    assert "drain: succeeded (sessions taken over 7)" in shown.out
    with pytest.raises(CallFailed):
        node.drain("fra1", wait=True, as_json=True)
    assert [each["state"] for each in json.loads(capsys.readouterr().out)] == ["failed", "succeeded"]


def test_a_node_that_has_never_served_is_joining_and_not_healthy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {"health": "serving", "since": "2026-11-26T10:33:21Z", "reason": "joined", "owed": None}
    ams1 = base | {"node_name": "ams1", "phase": "joining", "summary": "its port is shut", "first_look": "unreached"}
    fra1 = base | {"node_name": "fra1", "phase": "serving", "summary": "verified", "first_look": "answered"}
    found = {"nodes": [ams1, fra1], "history": [], "frozen": None, "paused_since": None}
    client = SimpleNamespace(get=lambda _path, **_query: found)
    monkeypatch.setattr(config_health, "panel", lambda: nullcontext(client))
    config_health.health("wg0", history=10, as_json=False)
    shown = capsys.readouterr()
    _, first, second = shown.out.splitlines()
    assert "joining" in first
    assert "its port is shut" in first
    assert "serving" not in first
    assert "serving" in second
    assert "not published" in shown.err


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    paper = io.StringIO()
    monkeypatch.setattr(output, "console", lambda: Console(file=paper, width=80, markup=False))
    return paper


def test_in_80_columns_a_sentence_stands_below(screen: io.StringIO) -> None:
    row = {"name": "fra1", "endpoints": ["198.18.16.11"], "connected": False, "cordoned": True}
    row |= {"configs": ["wg0"], "peers": 0, "agent": "0.2.0", "summary": "cannot be managed: [red] nobody answers"}
    output.show_table([row, {**row, "name": "ams1", "summary": ""}], node.COLUMNS)
    heading, *_, last = screen.getvalue().splitlines()
    assert "SUMMARY" not in heading
    assert last == "fra1: cannot be managed: [red] nobody answers"


LONG = {
    "name": "anna.von.der.heide@the-very-long-name.example.org",
    "user": "anna.von.der.heide",
    "address": "2001:db8:1111:2222:3333:4444:5555:6666",
    "addresses": ["10.8.100.200", "fd00:8:1111:2222:3333:4444:5555:6666"],
    "endpoints": ["198.51.100.200", "2001:db8:1111:2222:3333:4444:5555:6666"],
    "endpoint": "[2001:db8:1111:2222:3333:4444:5555:6666]:51820",
    "program": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "expires_at": "2027-02-24T10:32:29Z",
    "scopes": ["read", "write", "nodes", "secrets"],
    "reason": "before the node was removed",
    "id": "11c89562",
    "whole_id": "01a2176cdea1000047e265b811c89562",
    "from": "123 MiB",
    "to": "1023 GiB",
}


@pytest.mark.parametrize(
    "columns",
    [
        node.COLUMNS, node.WITH_WITNESSES, certificate.COLUMNS, certificate.REVOCATION, user.COLUMNS,
        user.SIGN_IN_COLUMNS, peer.COLUMNS, operation.COLUMNS, address.COLUMNS, config.NODE_COLUMNS, config.COLUMNS,
        dns.COLUMNS, dns.HISTORY, key.COLUMNS, backup.COLUMNS, audit.COLUMNS,
    ],
    ids=str,
)  # fmt: skip
def test_in_80_columns_no_word_is_cut_and_no_short_value_broken(
    columns: tuple[str, ...], screen: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, Any]] = [
        {name: LONG.get(name, "twelve chars") for name in columns},
        dict.fromkeys(columns, "-"),
    ]
    output.show_table(rows, columns)
    shown = screen.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    said = capsys.readouterr().err.partition("for: ")[2].partition(" (--wide")[0]
    left_out = said.split(", ")
    for name in columns:
        if name.replace("_", " ") in left_out:
            continue
        value = output.text(rows[0][name])
        for word in [value] if len(value) <= output.ONE_LINE else value.split(" "):
            assert word in shown, (name, word, said)


@pytest.mark.parametrize("name", ["W" * 64, "网" * 64, "رضا-" + "W" * 60])
def test_in_80_columns_one_long_name_takes_no_column_from_all_others(screen: io.StringIO, name: str) -> None:
    rows = [
        {"name": each, "addresses": ["10.8.0.2"], "node": "fra1", "online": True, "handshake": "5s"}
        for each in ("anna", name)
    ]
    output.show_table(rows, ("name", "addresses", "node", "online", "handshake"))
    lines = screen.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert lines[0].split() == ["NAME", "ADDRESSES", "NODE", "ONLINE", "HANDSHAKE"]
    shown = "".join(line.split("  ")[0].strip() for line in lines[2:])
    assert shown.replace(" ", "") == name, "whole, in several lines"


def test_wide_shows_every_column_with_whole_words(screen: io.StringIO) -> None:
    columns = (*user.SIGN_IN_COLUMNS, "whole_id", "expires_at")
    output.show_table([{name: LONG.get(name, "x") for name in columns}], columns, whole=True)
    for name in ("address", "whole_id"):
        assert str(LONG[name]) in screen.getvalue()


@pytest.mark.parametrize("width", [80, 250])
@pytest.mark.parametrize("every", [100, 20, 2])
def test_a_list_of_many_looks_as_one_of_few(monkeypatch: pytest.MonkeyPatch, width: int, every: int) -> None:
    """`every`: of that many rows one has a name that takes several lines."""

    def row(number: int) -> dict[str, Any]:
        name = f"مریم {number}"
        if number % every == every - 1:
            name += " with many words" * 20
        addresses = [f"10.8.0.{number}", f"fd00:8::{number:x}"]
        return {"name": name, "addresses": addresses, "enabled": bool(number % 2), "seen": "2026-11-29T20:00:01Z"}

    rows = [row(number) for number in range(60)]
    shown = []
    for many in (len(rows), 10):
        paper = io.StringIO()
        monkeypatch.setattr(output, "console", lambda paper=paper: Console(file=paper, width=width, markup=False))
        monkeypatch.setattr(output, "MANY", many)
        output.show_table(rows, ("name", "addresses", "enabled", "seen", "endpoint"))
        shown.append(paper.getvalue())
    assert shown[0] == shown[1]
    assert shown[0].count("10.8.0.") == len(rows)


def test_a_list_is_sorted_newest_and_largest_first_and_what_is_not_there_last() -> None:
    cells = [output.age_cell(f"2026-11-2{day}T10:00:00Z") for day in (4, 6)]
    assert sorted([cells[0], None, cells[1]], key=output.order) == [cells[1], cells[0], None]
    sizes = [output.size_cell(count) for count in (1024, 5 << 30)]
    assert sorted([sizes[0], None, sizes[1]], key=output.order) == [sizes[1], sizes[0], None]
    assert sorted([None, "b", "A", ""], key=output.order) == ["A", "b", None, ""]
    assert sorted([False, True, 3, 12], key=output.order) == [12, 3, True, False]


def test_bytes_have_binary_units() -> None:
    counts = (None, 0, 1023, 1024, 10 * 1024, 1 << 20, 1536 << 20, 3 << 40)
    assert [output.size(each) for each in counts] == [
        "-", "0 B", "1023 B", "1.0 KiB", "10 KiB", "1.0 MiB", "1.5 GiB", "3.0 TiB",
    ]  # fmt: skip


def test_a_pipe_is_wide_unless_columns_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert output.console().width == output.WIDE
    monkeypatch.setenv("COLUMNS", "80")
    assert output.console().width == 80


def test_a_refusal_has_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    complain("no key in \x1b[2Jhere")
    assert capsys.readouterr().err == "error: no key in \N{REPLACEMENT CHARACTER}[2Jhere\n"
