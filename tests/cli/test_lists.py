"""What all lists can do, and what people may write for a thing."""

import io
import json
import threading
from contextlib import nullcontext
from typing import Annotated, Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from wgfleet.cli import listing, output, references, watching
from wgfleet.cli.client import CallFailed, Client
from wgfleet.cli.listing import ListResult, _filters, listed
from wgfleet.cli.output import size_cell

IDS = [f"01a2176cdea10000{number:08x}11c89562" for number in range(3)]


class Panel(Client):
    """Lists without a panel: path -> documents."""

    def __init__(self, lists: dict[str, list[dict[str, Any]]]) -> None:
        self._lists = lists

    def all(self, path: str, **query: Any) -> list[dict[str, Any]]:
        wanted = query.get("search") or ""
        return [each for each in self._lists.get(path, []) if wanted in each.get("name", wanted)]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    documents: list[dict[str, Any]] = [
        {"name": "b", "bytes": 1024, "state": "ok"},
        {"name": "A", "bytes": 2048, "state": "failed"},
        {"name": "c", "bytes": None, "state": "ok"},
    ]
    monkeypatch.setattr(listing, "panel", lambda: nullcontext(Panel({"/api/things": documents})))
    made = typer.Typer()

    @made.command()
    @listed("name", "traffic", "state", wide=("bytes",))
    def things(client: Client, *, state: str | None = None) -> ListResult:
        """List things."""
        found = [each for each in client.all("/api/things") if state in {None, each["state"]}]
        return ListResult(found, [{**each, "traffic": size_cell(each["bytes"])} for each in found], warnings=["beware"])

    return made


def names(app: typer.Typer, *options: str) -> list[str]:
    ran = CliRunner().invoke(app, [*options, "--json"])
    assert ran.exit_code == 0, ran.output
    return [each["name"] for each in json.loads(ran.stdout)]


def test_a_list_is_sorted_and_filtered_also_as_json(app: typer.Typer) -> None:
    assert names(app) == ["b", "A", "c"]
    assert names(app, "--sort", "name") == ["A", "b", "c"]
    assert names(app, "--sort", "traffic") == ["A", "b", "c"]
    assert names(app, "--filter", "ok") == ["b", "c"]
    assert names(app, "--filter", "state=FAIL") == ["A"]
    assert names(app, "--filter", "ok", "--filter", "traffic=KiB") == ["b"]
    assert names(app, "--state", "failed") == ["A"]


def test_what_is_shown_besides_is_for_people_and_wide_has_more_columns(app: typer.Typer) -> None:
    shown = CliRunner().invoke(app, [])
    assert "1.0 KiB" in shown.stdout
    assert "1024" not in shown.stdout
    assert "warning: beware" in shown.stderr
    assert "1024" in CliRunner().invoke(app, ["--wide"]).stdout
    assert "beware" not in CliRunner().invoke(app, ["--json"]).output


def test_an_empty_list_says_what_was_asked_for_and_an_empty_option_asks_for_nothing(app: typer.Typer) -> None:
    ran = CliRunner().invoke(app, ["--state", "gone"])
    assert (ran.exit_code, "there are none for --state gone" in ran.output) == (0, True)
    ran = CliRunner().invoke(app, ["--state", " "])
    assert ran.exit_code != 0
    assert "--state is empty; leave it out for all, or say which" in f"{ran.output}{ran.exception}"
    assert _filters(list_entries_parameters) == {"kind": "--type", "all_of_them": "--all-of-them"}


def list_entries_parameters(
    _client: Client,
    _config: str,
    *,
    kind: Annotated[str | None, typer.Option("--type")] = None,
    all_of_them: bool = False,
    limit: int = 50,
) -> ListResult:
    """Options as those of lists."""
    return ListResult([{"kind": kind, "all": all_of_them, "limit": limit}])


def test_a_column_that_is_not_there_is_answered_with_those_that_are(app: typer.Typer) -> None:
    for options in (("--sort", "nmae"), ("--filter", "nmae=x")):
        ran = CliRunner().invoke(app, [*options])
        assert isinstance(ran.exception, CallFailed)
        assert "there are name, traffic, state, bytes" in str(ran.exception)


def test_watching_prints_what_has_changed_and_waits_for_a_panel_that_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(["one", "one", "two", CallFailed("nobody there", 3), "two"])

    def once() -> None:
        answer = next(answers, None)
        if answer is None:
            raise KeyboardInterrupt  # as Ctrl-C
        if isinstance(answer, CallFailed):
            raise answer
        typer.echo(answer)

    monkeypatch.setattr(watching, "EVERY_S", 0.0)
    watching.draw(once, watch=True)
    assert capsys.readouterr().out.split("\n") == ["one", "two", "error: nobody there", "two", ""]


def test_a_terminal_is_drawn_in_place_and_a_refusal_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = io.StringIO()
    screen = Console(file=paper, force_terminal=True, width=40)
    monkeypatch.setattr(output, "console", lambda: screen)
    monkeypatch.setattr(watching, "EVERY_S", 0.0)
    drawn = threading.Event()

    def once() -> None:
        if drawn.is_set():
            raise CallFailed("not yours", 1)
        drawn.set()
        typer.echo("10 peers")

    with pytest.raises(CallFailed, match="not yours"):
        watching.draw(once, watch=True)
    assert "10 peers" in paper.getvalue()


def operations() -> Panel:
    found = [{"id": each, "kind": "drain", "name": f"n{number}"} for number, each in enumerate(IDS)]
    found[2]["id"] = IDS[2][:-8] + "deadbeef"
    return Panel({"/api/operations": found})


def test_an_id_its_end_or_a_name_stand_for_a_thing() -> None:
    panel = operations()
    for reference in (IDS[2][:-8] + "deadbeef", "deadbeef", "beef", "n2"):
        found = references.identifier(panel, "/api/operations", reference, ("kind",), name="name")
        assert found == IDS[2][:-8] + "deadbeef"
    assert references.identifier(panel, "/api/operations", "nothing", ("kind",)) == "nothing"


def test_where_several_are_meant_the_error_lists_them() -> None:
    with pytest.raises(CallFailed, match=r"'11c89562' may be any of 11c89562 drain, 11c89562 drain; say which"):
        references.identifier(operations(), "/api/operations", "11c89562", ("kind",))


def peers() -> Panel:
    return Panel(
        {
            "/api/configs": [{"id": "1", "name": "wg0"}, {"id": "2", "name": "wg1"}],
            "/api/configs/1/peers": [{"id": IDS[0], "name": "anna"}, {"id": IDS[1], "name": "bob"}],
            "/api/configs/2/peers": [{"id": IDS[2], "name": "anna"}],
            "/api/configs/wg1/peers": [{"id": IDS[2], "name": "anna"}],
        }
    )


def test_a_peer_needs_no_config_where_one_config_has_the_name() -> None:
    assert references.peer(peers(), "bob") == IDS[1]
    assert references.peer(peers(), "wg1/anna") == IDS[2]
    assert references.peers(peers(), ["bob", IDS[1], "wg1/anna"]) == [IDS[1], IDS[2]]
    with pytest.raises(CallFailed, match="'anna' may be any of wg0/anna, wg1/anna; say which"):
        references.peer(peers(), "anna")
    with pytest.raises(CallFailed, match="there is no peer 'carol' in any config"):
        references.peers(peers(), ["bob", "carol"])
