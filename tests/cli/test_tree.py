"""The tree of commands as a whole: help at 80 columns, the words that people try, and clumsy input."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from wgfleet.cli import app
from wgfleet.cli.tree import CommandGroup

COLUMNS = 80
# Words that a person may type, or a script pass on, where something else is wanted.
CLUMSY = (
    "", " ", ".", "..", "/", "a/b", "wg0", "wg0/anna", "wg0/", "/anna", "fra1", "-1", "0", "nan", "inf", "1e999",
    "9" * 400, "[red]", "%s{}", "\N{FOX FACE}", "\udcff", "a\nb", "10.8.0.1/99", "::/0", "https://", "x" * 3000, "--",
)  # fmt: skip
MACHINE = {"agent", "lab", "panel"}  # work on the machine itself; their own tests run them in a place of their own
WAITS = {"wait"}
ROOT = typer.main.get_command(app)


def leaves(command: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each command with the words that call it."""
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    context = typer.Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*path, name))


LEAVES = dict(leaves())


def test_every_argument_and_option_says_what_it_is() -> None:
    silent = [
        f"{' '.join(path)}: {each.name}" for path, leaf in LEAVES.items() for each in leaf.params if not each.help
    ]
    assert silent == []


REMOTE = [path for path in LEAVES if path[0] not in MACHINE and path[-1] not in WAITS]


def run(*words: str, **env: str) -> Any:
    return CliRunner().invoke(app, list(words), env={"COLUMNS": str(COLUMNS), **env})


def test_no_option_is_refused_in_the_words_of_a_library() -> None:
    said = ""
    for path in REMOTE:
        for each in LEAVES[path].params:
            option = next((name for name in each.opts if name.startswith("--")), None)
            if option is not None and not each.is_flag:
                said += run(*path, option, "zz", WGFLEET_URL="http://127.0.0.1:9").output
    assert said.count("Invalid value for") > 20
    assert "must be a whole number such as 25" in said
    assert not re.search(r"[Ii]nput should|unable to|valid (integer|number|boolean)", said)


def test_help_names_every_option_in_full_and_keeps_to_80_columns() -> None:
    for path, command in LEAVES.items():
        shown = run(*path, "-h")
        assert shown.exit_code == 0, path
        assert max(map(len, shown.output.splitlines())) <= COLUMNS, path
        options = {each for parameter in command.params for each in parameter.opts if each.startswith("--")}
        assert options <= set(shown.output.replace(",", " ").split()), path


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("peers ls", "peer list"),
        ("node rm", "node delete"),
        ("addresses list", "address list"),
        ("config add", "config create"),
    ],
)
def test_other_words_for_a_command_run_it(typed: str, meant: str) -> None:
    first = run(*typed.split(), "-h").output.splitlines()
    assert first[1:] == run(*meant.split(), "-h").output.splitlines()[1:]


def test_a_slip_of_the_finger_is_answered_with_the_command() -> None:
    assert "Did you mean 'node'?" in run("nodee", "list").stderr
    assert "Did you mean 'list'?" in run("peer", "lst").stderr


@pytest.fixture
def reached(client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith(("WGFLEET", "XDG"))]:
        monkeypatch.delenv(name)
    key = str(client.headers["Authorization"]).removeprefix("Bearer ")
    return {"HOME": str(tmp_path), "WGFLEET_URL": str(client.base_url), "WGFLEET_API_KEY": key}


@st.composite
def commands(draw: st.DrawFn) -> list[str]:
    """Draw a command with words for its arguments and some of its options."""
    path = draw(st.sampled_from(REMOTE))
    words, word = list(path), st.sampled_from(CLUMSY)
    for parameter in LEAVES[path].params:
        if parameter.name in {"help", "watch"}:  # the second has no end
            continue
        if not parameter.opts[0].startswith("-"):
            words += [draw(word)]
        elif parameter.required or draw(st.integers(0, 3)) == 0:
            words += [parameter.opts[0]] if getattr(parameter, "is_flag", False) else [parameter.opts[0], draw(word)]
    return words


@pytest.mark.slow
@pytest.mark.usefixtures("wg0", "fra1")
@settings(
    max_examples=int(os.environ.get("WGFLEET_EXAMPLES", "60")), deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(words=commands())
def test_clumsy_input_is_answered_in_words(reached: dict[str, str], words: list[str]) -> None:
    ended = run(*words, **reached)
    assert ended.exception is None or isinstance(ended.exception, SystemExit), (words, ended.exception)
    assert "500 Internal" not in ended.stderr, words
    assert ended.exit_code == 0 or ended.stderr.strip(), words


def with_one_long(path: tuple[str, ...], parameters: list[Any], long: str) -> Iterator[list[str]]:
    """Yield what calls a command with a long value for each of its parameters in turn; of others what it needs."""
    for each in parameters:
        words = list(path)
        for other in parameters:
            value = long if other is each else "wg0"
            if not other.opts[0].startswith("-"):
                words.append(value)
            elif (other is each or other.required) and not getattr(other, "is_flag", False):
                words += [other.opts[0], value]
        yield words


@pytest.mark.slow
@pytest.mark.usefixtures("wg0", "fra1")
def test_no_refusal_repeats_a_long_value(reached: dict[str, str]) -> None:
    long, refused, repeated = "x" * 10_000, 0, []
    for path in REMOTE:
        parameters = [each for each in LEAVES[path].params if each.name not in {"help", "watch", "follow"}]
        for words in with_one_long(path, parameters, long):
            ended = run(*words, **reached)
            refused += ended.exit_code != 0
            repeated += [" ".join(words).replace(long, "LONG")] if long[:500] in ended.stderr else []
    assert repeated == []
    assert refused > 100
    assert long[:500] not in run("node", "list", f"--{long}").stderr + run(long).stderr


@pytest.mark.parametrize("word", ["-1", "-5GB", "-.5", "-1.5", "-9-"])
def test_a_negative_number_is_a_value_of_any_command(word: str) -> None:
    for path, command in LEAVES.items():
        taken, rest, _ = command.make_parser(typer.Context(command)).parse_args([word])
        assert word in str([taken, rest]), path
    assert "No such option: -x" in run("peer", "show", "-x").stderr


def pointed() -> Iterator[tuple[str, str, str]]:
    for group, words in CommandGroup.elsewhere.items():
        yield from ((group, word, meant) for word, meant in words.items())


@pytest.mark.parametrize(("group", "word", "meant"), list(pointed()))
def test_what_is_looked_for_where_it_is_not_is_pointed_to_where_it_is(group: str, word: str, meant: str) -> None:
    refused = run(*([] if group == "wgfleet" else [group]), word)
    assert refused.exit_code == 2
    assert " ".join(refused.stderr.split()).endswith(f"See: {meant}")
    known = {" ".join(path) for path, _ in leaves()} | {""}
    for each in re.findall(r"wgfleet ((?:[a-z][a-z-]*(?: |$|,))*)", f"{meant} "):
        named = each.replace(",", "").strip()
        assert any(named == command or named.startswith(f"{command} ") for command in known), named
