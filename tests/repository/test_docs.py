"""What the docs say can be typed can be typed: commands, their options, settings, links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from wgfleet.cli import COMMANDS, app
from wgfleet.panel.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SHORT_GROUPS = "node|group|config|peer|address|dns|operation|backup|audit|lab"  # also written without `wgfleet`
NO_SETTINGS = {("tls", "key"), ("tls", "crt")}  # files of an agent, whose names look like settings
ENDS = {"|", "&&", ";", "\\"}


def commands(page: str) -> Iterator[str]:
    """Every command of ours in a page: in its blocks, and in its text between backquotes."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        if found := re.match(r"\s*(?:\$ |sudo )?(?:\S*/bin/)?wgfleet (?=[a-z-])(.*)", line):
            yield found[1]
    text = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`([^`]+)`", text):
        if found := re.match(rf"wgfleet (?=[a-z-])(.*)|((?:{SHORT_GROUPS}) [a-z].*)", span, re.DOTALL):
            yield found[1] or found[2]


def complaint(command: str) -> str | None:
    """Say what is wrong with a command's words; its values are the reader's own."""
    words = shlex.split(command, comments=True)
    words = words[: next((at for at, word in enumerate(words) if word in ENDS), len(words))]
    current = get_command(app)
    context = typer.Context(current)
    while isinstance(current, TyperGroup) and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        if words[0] not in current.list_commands(context):
            return f"wgfleet {command}: there is no {words[0]!r}"
        found = current.get_command(context, words.pop(0))
        assert found is not None
        current = found
    known = {name for parameter in current.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "--version", "--install-completion"}
    for word in words[: words.index("--") if "--" in words else None]:
        for option in re.findall(r"^--?[a-z][a-z-]*", word):
            if option not in known:
                return f"wgfleet {command}: there is no {option}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_the_docs_exists_with_its_options(page: Path) -> None:
    assert [found for command in commands(page.read_text()) if (found := complaint(command))] == []


def test_the_docs_commands_are_found_and_wrong_ones_told() -> None:
    assert sum(len(list(commands(page.read_text()))) for page in PAGES) > 60
    assert complaint("config unassign wg0 fra1 --wait") is None
    assert complaint("lab exec node-1 -- ls --all") is None
    assert complaint("config unassing wg0") == "wgfleet config unassing wg0: there is no 'unassing'"
    assert complaint("node drain fra1 --hurry") == "wgfleet node drain fra1 --hurry: there is no --hurry"


def test_every_command_is_in_the_page_of_commands() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    context = typer.Context(root)
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", page, re.MULTILINE))
    for group in root.list_commands(context):
        found = root.get_command(context, group)
        if group in COMMANDS:
            assert group in rows
            continue
        assert isinstance(found, TyperGroup)
        missing = [name for name in found.list_commands(context) if f"`{name}`" not in rows.get(group, "")]
        assert missing == [], group


def test_every_setting_that_the_docs_name_exists() -> None:
    groups = {name: field.annotation for name, field in Settings.model_fields.items()}
    wrong = []
    for page in PAGES:
        for group, key in re.findall(r"`([a-z_]+)\.([a-z_]+)(?: = [^`]*)?`", page.read_text()):
            fields = getattr(groups.get(group), "model_fields", None)
            if fields is not None and key not in fields and (group, key) not in NO_SETTINGS:
                wrong.append(f"{page.name}: {group}.{key}")
        for variable in re.findall(r"WGFLEET_([A-Z]+__[A-Z_]+)", page.read_text()):
            group, key = variable.lower().split("__")
            if group != "group" and key not in getattr(groups.get(group), "model_fields", ()):
                wrong.append(f"{page.name}: WGFLEET_{variable}")
    assert wrong == []


def test_every_source_that_the_docs_name_exists() -> None:
    """Paths in backquotes, which may leave `src/wgfleet/` or `src/wgfleet/panel/` out."""
    tops = [ROOT, ROOT / "src/wgfleet", ROOT / "src/wgfleet/panel"]
    named = {
        (page.name, path)
        for page in PAGES
        for path in re.findall(r"`([a-z_]+(?:/[a-z_0-9]+)+\.py)`", page.read_text())
        if page.parent.name != "adr"
    }
    assert len(named) > 20
    assert [found for found in sorted(named) if not any((top / found[1]).exists() for top in tops)] == []


def test_every_link_within_the_docs_leads_somewhere() -> None:
    broken = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []
