"""The house rules hold for every file; and each rule can fail, shown by a bad sample."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from tests.repository import house_rules
from wgfleet.panel import api
from wgfleet.panel.api.auth import OPEN_PATHS, Reader
from wgfleet.panel.web.doors import OPEN_PAGES
from wgfleet.panel.web.site import ROUTERS

ROOT = Path(__file__).parents[2]
SourceRule = Callable[[str, str], list[str]]
# Which files each rule is for, by the start of their path.
RULES: dict[SourceRule, tuple[str, ...]] = {
    house_rules.processes: ("src/",),
    house_rules.clock: ("src/",),
    house_rules.surfaces: ("src/",),
    house_rules.plugin_names: ("src/",),
    house_rules.repositories: ("src/",),
    house_rules.size: ("src/", "tests/", "bench/"),
    house_rules.docstring: ("src/",),
    house_rules.begins: ("src/",),
    house_rules.length: ("src/", "tests/", "bench/"),
    house_rules.waivers: ("src/", "tests/", "bench/"),
    house_rules.quotes: ("src/",),
    house_rules.skips: ("tests/", "src/wgfleet/testing/"),
    house_rules.marker: ("tests/",),
}


def files() -> list[str]:
    """Every file of the repository, with those that are not committed yet."""
    # safe.directory: the tests run as root in a checkout that may belong to someone else.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(path for path in listed.split("\0") if path and (ROOT / path).is_file())


def routes(*routers: APIRouter) -> list[APIRoute]:
    return [route for router in routers for route in router.routes if isinstance(route, APIRoute)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: SourceRule) -> None:
    modules = [path for path in files() if path.endswith(".py") and path.startswith(RULES[rule])]
    assert len(modules) > 10
    assert [complaint for path in modules for complaint in rule(path, (ROOT / path).read_text())] == []


def test_every_file_has_a_name_that_says_something() -> None:
    assert [complaint for path in files() for complaint in house_rules.name(path)] == []


def test_no_file_names_an_outside_path_or_a_registry_host() -> None:
    texts = {path: (ROOT / path).read_text(errors="replace") for path in files()}
    assert [complaint for path, text in texts.items() for complaint in house_rules.outside(path, text)] == []


def test_texts_are_in_plain_english() -> None:
    texts = {path: (ROOT / path).read_text() for path in files() if path.endswith((".py", ".md"))}
    assert sum(path.startswith(house_rules.PLAIN) for path in texts) > 150
    assert [complaint for path, text in texts.items() for complaint in house_rules.plain(path, text)] == []


def test_a_class_name_means_one_thing() -> None:
    sources = {path: (ROOT / path).read_text() for path in files() if path.startswith("src/") and path.endswith(".py")}
    assert len(sources) > 200
    assert house_rules.classes(sources) == []
    twice = {"src/a.py": "class Plan: ...", "src/b.py": "class Plan: ...", "src/c.py": "class _Plan: ..."}
    assert house_rules.classes(twice) == ["Plan is declared in src/a.py and src/b.py"]


def test_every_route_of_the_panel_asks_for_a_scope() -> None:
    found = routes(*(subject.router for subject in api.SUBJECTS))
    assert len(found) > 20
    assert house_rules.scopes(found, OPEN_PATHS) == []


def test_every_page_asks_for_a_scope() -> None:
    found = routes(*ROUTERS)
    assert len(found) > 8
    assert house_rules.scopes(found, OPEN_PAGES) == []


@pytest.mark.parametrize(
    ("rule", "path", "bad"),
    [
        (house_rules.surfaces, "src/wgfleet/panel/services/a.py", "raise NotFound('list them with GET /api/nodes')"),
        (house_rules.surfaces, "src/wgfleet/panel/domain/a.py", "TEXT = 'or repeat with force=true'"),
        (house_rules.surfaces, "src/wgfleet/panel/dns/a.py", "TEXT = 'see `wgfleet node list`'"),
        (house_rules.plain, "src/wgfleet/panel/api/a.py", "# What came of it"),
        (house_rules.plain, "src/wgfleet/cli/a.py", "'the agent enrols'"),
        (house_rules.plain, "src/wgfleet/cli/a.py", "initialised = 1"),
        (house_rules.plain, "docs/a.md", "Whoever calls ends to work and is told so."),
        (house_rules.plugin_names, "src/wgfleet/panel/services/dns/a.py", "if provider == 'cloudflare':"),
        (house_rules.plugin_names, "src/wgfleet/panel/dns/providers/rfc2136.py", "from a import cloudflare_api"),
        (house_rules.plugin_names, "src/wgfleet/cli/a.py", "HELP = 'L2, or a plugin'"),
        (house_rules.plugin_names, "src/wgfleet/panel/main.py", "settings.dns.cloudflare_token"),
        (house_rules.processes, "src/wgfleet/panel/a.py", "import subprocess"),
        (house_rules.processes, "src/wgfleet/agent/a.py", "from subprocess import run as go"),
        (house_rules.processes, "src/wgfleet/cli/a.py", "import asyncio as a\na.create_subprocess_exec('true')"),
        (house_rules.processes, "src/wgfleet/cli/a.py", "from asyncio import create_subprocess_exec"),
        (house_rules.processes, "src/wgfleet/lab/a.py", "import os\nos.system('true')"),
        (house_rules.processes, "src/wgfleet/agent/kernel/a.py", "import subprocess\nsubprocess.run('a', shell=True)"),
        (house_rules.processes, "src/wgfleet/lab/a.py", "from asyncio import create_subprocess_shell"),
        (house_rules.clock, "src/wgfleet/panel/a.py", "import time\ntime.time()"),
        (house_rules.clock, "src/wgfleet/panel/a.py", "from time import time as wall"),
        (house_rules.clock, "src/wgfleet/panel/a.py", "import datetime\ndatetime.datetime.now()"),
        (house_rules.clock, "src/wgfleet/panel/a.py", "from datetime import datetime as dt\ndt.utcnow()"),
        (house_rules.clock, "src/wgfleet/panel/a.py", "import secrets"),
        (house_rules.repositories, "src/wgfleet/panel/services/a.py", "def f(tx): tx.session.flush()"),
        (house_rules.repositories, "src/wgfleet/panel/services/a.py", "def f(vault): vault.seal('a', 'b')"),
        (house_rules.repositories, "src/wgfleet/panel/api/a.py", "def f(panel): panel.vault.open(b'a', 'b')"),
        (house_rules.size, "src/a.py", "x = 1\n" * 401),
        (house_rules.docstring, "src/a.py", "x = 1"),
        (house_rules.begins, "src/a.py", '"""What a peer is."""'),
        (house_rules.begins, "src/a.py", '"""Builds peers."""'),
        (house_rules.begins, "src/a.py", '"""peers of a config."""'),
        (house_rules.length, "src/a.py", "def f():\n" + "    x = 1\n" * house_rules.MAX_FUNCTION_LINES),
        (house_rules.waivers, "src/a.py", "import os  # noqa: F401"),
        (house_rules.waivers, "src/a.py", "import os  # noqa"),
        (house_rules.waivers, "src/a.py", "import os  # noqa: F401, I001"),
        (house_rules.quotes, "src/wgfleet/cli/a.py", "f'there is no peer {name!r}'"),
        (house_rules.skips, "tests/test_a.py", "import pytest\npytest.skip('later')"),
        (house_rules.skips, "tests/test_a.py", "import pytest\n@pytest.mark.skipif(True)\ndef test(): ..."),
        (house_rules.skips, "tests/test_a.py", "from pytest import mark\n@mark.xfail\ndef test(): ..."),
        (house_rules.marker, "tests/lab/test_a.py", "from wgfleet.lab import hosts"),
        (house_rules.marker, "tests/agent/test_a.py", "from tests.agent.node import Node"),
        (
            house_rules.marker,
            "tests/kernel/test_a.py",
            "import pytest\nfrom tests.kernel import node\npytest.mark.lab",
        ),
        (house_rules.marker, "tests/panel/test_a.py", "import pytest\npytestmark = pytest.mark.lab"),
        (house_rules.outside, "a.md", "see ../" + "shared/notes.md"),
        (house_rules.outside, "a.sh", "cd /" + "work/main"),
        (house_rules.outside, "requirements.lock", "--index-url https://pypi." + "org/simple"),
    ],
)
def test_a_rule_finds_a_breach(rule: SourceRule, path: str, bad: str) -> None:
    assert rule(path, bad) != []


@pytest.mark.parametrize(
    ("rule", "path", "good"),
    [
        (
            house_rules.processes,
            "src/wgfleet/agent/kernel/a.py",
            "import subprocess\nsubprocess.run(['a'], shell=False)",
        ),
        (house_rules.plugin_names, "src/wgfleet/panel/dns/providers/cloudflare_api.py", "NAME = 'cloudflare'"),
        (house_rules.plugin_names, "src/wgfleet/panel/api/a.py", "cloudflare_zone_id: str | None = None"),
        (house_rules.plugin_names, "src/wgfleet/panel/a.py", "L2TP = 'al2 RFC 2136'"),
        (house_rules.processes, "src/wgfleet/panel/a.py", "import os\nsystem = os.path.join('a')"),
        (house_rules.clock, "src/wgfleet/panel/clock.py", "import time\ntime.time()"),
        (house_rules.clock, "src/wgfleet/agent/a.py", "import time\ntime.time()"),
        (house_rules.clock, "src/wgfleet/panel/a.py", "from wgfleet.panel import clock\nclock.time()"),
        (house_rules.repositories, "src/wgfleet/panel/store/a.py", "def f(tx): tx.session.flush()"),
        (house_rules.repositories, "src/wgfleet/panel/services/a.py", "def f(tx): tx.flush(); sealed.seal(tx)"),
        (house_rules.size, "src/a.py", "x = 1\n" * 400),
        (house_rules.quotes, "src/wgfleet/cli/a.py", "class A:\n    def __repr__(self): return f'A({self.b!r})'"),
        (house_rules.quotes, "src/wgfleet/cli/a.py", "Reason('there is no peer {name!r}', name=name)"),
        (house_rules.docstring, "src/a.py", ""),
        (house_rules.begins, "src/a.py", '"""Peers: what they are."""'),
        (house_rules.begins, "src/a.py", '"""wireguard-go, for machines without WireGuard."""'),
        (house_rules.length, "src/a.py", "def f():\n" + "    x = 1\n" * (house_rules.MAX_FUNCTION_LINES - 1)),
        (house_rules.waivers, "src/a.py", "import os  # noqa: F401 - kept for those who import it from here"),
        (house_rules.marker, "tests/lab/conftest.py", ""),
        (
            house_rules.marker,
            "tests/lab/test_a.py",
            "import pytest\nfrom wgfleet.lab import hosts\npytest.mark.lab",
        ),
        (house_rules.marker, "tests/lab/test_a.py", "from wgfleet.lab.pings import count"),
        (house_rules.outside, "a.py", "path = '/workspace', 'frame/work/x'"),
    ],
)
def test_a_rule_leaves_alone_what_is_right(rule: SourceRule, path: str, good: str) -> None:
    assert rule(path, good) == []


@pytest.mark.parametrize(
    "path", ["src/wgfleet/utils.py", "src/wgfleet/helpers/a.py", "tests/common.py", "bench/misc.md"]
)
def test_an_empty_name_is_found(path: str) -> None:
    assert house_rules.name(path) != []


def test_a_route_without_a_scope_is_found_and_an_open_one_must_exist() -> None:
    router = APIRouter()
    router.get("/api/forgotten")(lambda: None)
    router.get("/api/open")(lambda: None)

    @router.get("/api/closed")
    def closed(_caller: Reader) -> None: ...

    assert house_rules.scopes(routes(router), {"/api/open": "", "/api/closed": "", "/api/gone": ""}) == [
        "GET /api/forgotten asks for no scope",
        "GET /api/closed is open and asks for a scope",
        "/api/gone is open, but there is no such route",
    ]
