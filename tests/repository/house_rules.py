"""The house rules that a program can check. Each takes what it looks at, and returns its complaints, one text each."""

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

MAX_LINES = 400
MAX_FUNCTION_LINES = 68
MIGRATIONS = "src/wgfleet/panel/store/migrations/"  # as long as the tables are many
# What a noun phrase does not begin with: questions, and verbs that say what a module does.
NO_NOUNS = {
    "how", "what", "when", "where", "whether", "which", "who", "whose", "why", "once", "there", "it",
}  # fmt: skip
# Their docstrings have yet to be changed; this list only gets shorter.
NAMES = ("wgfleet", "wireguard-go", "pyroute2", "dns-lexicon")  # lower-case by themselves
VERBS = {
    "Bounds", "Brings", "Builds", "Deletes", "Fills", "Finds", "Follows", "Getting", "Gives", "Keeps", "Lets",
    "Makes", "Packs", "Puts", "Reading", "Reads", "Runs", "Sends", "Starts", "Takes", "Tells", "Turns",
    "Watches", "Writes",
    "Bring", "Build", "Count", "Fill", "Find", "Give", "Keep", "Let", "Make", "Pack", "Put", "Read", "Run", "Send",
    "Start", "Take", "Tell", "Turn", "Watch", "Write",
}  # fmt: skip
EMPTY_NAMES = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
STARTS_PROCESSES = (
    "src/wgfleet/agent/kernel/",
    "src/wgfleet/lab/",
    "src/wgfleet/panel/address_providers/program.py",  # runs what the panel's settings file names
)
# The panel's one source of time, ids and secrets.
CLOCK = "src/wgfleet/panel/clock.py"
OF_THE_CLOCK = {
    "datetime.datetime.now", "datetime.datetime.today", "datetime.datetime.utcnow", "datetime.date.today", "os.urandom",
    "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "uuid.uuid1", "uuid.uuid4",
}  # fmt: skip
STORE = "src/wgfleet/panel/store/"
CLOCK_MODULES = {"random", "secrets"}
# What a test's imports say of what it needs: the marker -> the modules that need it.
NEEDS = {
    "lab": ("wgfleet.lab.", "tests.lab.", "tests.agent.node.", "tests.panel.dying."),
    "kernel": ("tests.kernel.",),
    "machine": ("tests.machine.",),
}
NEED_NOTHING = (
    "wgfleet.lab.errors.", "wgfleet.lab.holdings.", "wgfleet.lab.pings.count", "wgfleet.lab.pings.settled",
    "wgfleet.lab.processes.listens", "wgfleet.lab.progress.",
)  # fmt: skip
PROCESS_CALLS = {
    "asyncio.create_subprocess_exec", "asyncio.subprocess.create_subprocess_exec",
    "os.fork", "os.posix_spawn", "os.spawnv", "pty.spawn",
}  # fmt: skip
SHELL_CALLS = {"asyncio.create_subprocess_shell", "asyncio.subprocess.create_subprocess_shell", "os.popen", "os.system"}
# Written apart, or this file would break the rule itself.
_OUTSIDE = [r"\.\./" + "shared", r"(?<![\w.])/" + "work/", "pypi" + r"\.org", "pythonhosted" + r"\.org"]
# Words of one surface: errors carry hints, which API, CLI and web each put in their own words.
WITHOUT_SURFACE = tuple(f"src/wgfleet/panel/{part}/" for part in ("services", "domain", "reconcile", "dns"))
SURFACE = re.compile(r"/api/|force=true|--force|`wgfleet [a-z]")
# What a native engineer stumbles over, and the spelling that is not ours. Add folders as they are cleaned.
PLAIN = ("bench/", "docs/", "script/", "src/", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "README.md")
ODD = re.compile(
    r"\b(what came of|(is|are|was|were) told|said of|mend(s|ed|ing)?|for else|ends? to (work|let|be|have)|whoever|anew|"
    r"so many|behind the (id|highest)|enrol(?!l)\w*|(serial|initial)is\w*|(behavi|col|neighb)our\w*|licence)\b",
    re.IGNORECASE,
)
# Where a plugin may be named: the two short fields of an endpoint group, the settings file's two fields, databases of
# older versions, and the lab, which chooses providers as a user does.
NAMES_PLUGINS = (
    "src/wgfleet/agent/kernel/bird.py",  # reads the name of the routing protocol
    "src/wgfleet/agent/kernel/frr.py",
    "src/wgfleet/lab/bird.py",
    "src/wgfleet/lab/face.py",
    "src/wgfleet/lab/frr.py",
    "src/wgfleet/panel/services/dns/short_fields.py",
    "src/wgfleet/panel/settings/dns.py",
    "src/wgfleet/panel/store/migrations/",
)
SHORT_FIELDS = re.compile(r"\bcloudflare_(zone_id|record_name)\b")
OUTSIDE = re.compile("|".join([*_OUTSIDE, "registry" + r"\.npmjs", "deb" + r"\.debian\.org"]))


def _names(tree: ast.AST) -> dict[str, str]:
    """What the imported names of a module stand for: `{"dt": "datetime.datetime"}`."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


_parse = lru_cache(maxsize=4096)(ast.parse)


@lru_cache(maxsize=4096)
def _used(source: str) -> tuple[tuple[int, str], ...]:
    return tuple(_uses(source))


def _uses(source: str) -> Iterator[tuple[int, str]]:
    """Every line and dotted name that a module uses, imports included, by its full name."""
    tree = _parse(source)
    names = _names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Attribute):
            parts, inner = [node.attr], node.value
            while isinstance(inner, ast.Attribute):
                parts, inner = [inner.attr, *parts], inner.value
            if isinstance(inner, ast.Name) and inner.id in names:
                yield node.lineno, ".".join([names[inner.id], *parts])


def processes(path: str, source: str) -> list[str]:
    """Processes start in the agent's kernel layer and the lab only, and nowhere through a shell."""
    found = [f"{path}:{line}: {name} goes through a shell" for line, name in _used(source) if name in SHELL_CALLS]
    found += [
        f"{path}:{node.lineno}: shell=True"
        for node in ast.walk(_parse(source))
        if isinstance(node, ast.keyword)
        and node.arg == "shell"
        and not (isinstance(node.value, ast.Constant) and not node.value.value)
    ]
    if not path.startswith(STARTS_PROCESSES):
        found += [
            f"{path}:{line}: {name} outside {' and '.join(STARTS_PROCESSES)}"
            for line, name in _used(source)
            if name.partition(".")[0] == "subprocess" or name in PROCESS_CALLS
        ]
    return found


def clock(path: str, source: str) -> list[str]:
    """Time, ids and randomness enter the panel through its clock only."""
    if not path.startswith("src/wgfleet/panel/") or path == CLOCK:
        return []
    return [
        f"{path}:{line}: {name}; take it from wgfleet.panel.clock"
        for line, name in _used(source)
        if name in OF_THE_CLOCK or name.partition(".")[0] in CLOCK_MODULES
    ]


def repositories(path: str, source: str) -> list[str]:
    """SQLAlchemy's session is used by the store only, and what the vault sealed by its registry of sealed columns."""
    if not path.startswith("src/wgfleet/panel/") or path.startswith(STORE):
        return []
    found = []
    for node in ast.walk(_parse(source)):
        if not isinstance(node, ast.Attribute):
            continue
        if node.attr == "session":
            found.append(f"{path}:{node.lineno}: a session outside the store; call a repository, or a method of Tx")
        owner = getattr(node.value, "attr", getattr(node.value, "id", ""))
        if node.attr in {"open", "seal"} and owner.lstrip("_") == "vault":
            found.append(f"{path}:{node.lineno}: a context of its own; call wgfleet.panel.store.sealed")
    return found


def size(path: str, source: str) -> list[str]:
    """A module has one reason to change, so it is short."""
    lines = source.count("\n")
    return [f"{path}: {lines} lines, more than {MAX_LINES}; split it by reason to change"] if lines > MAX_LINES else []


def name(path: str) -> list[str]:
    """A module's name says what it is about."""
    parts = PurePosixPath(path).with_suffix("").parts
    return [f"{path}: {part!r} says nothing about what is in it" for part in parts if part.lower() in EMPTY_NAMES]


def classes(sources: Mapping[str, str]) -> list[str]:
    """A class name means one thing in the whole product."""
    declared: dict[str, list[str]] = {}
    for path, source in sources.items():
        for node in _parse(source).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                declared.setdefault(node.name, []).append(path)
    return [f"{name} is declared in {' and '.join(paths)}" for name, paths in declared.items() if len(paths) > 1]


def docstring(path: str, source: str) -> list[str]:
    """A module of the product says what it owns."""
    tree = _parse(source)
    return [f"{path}: no docstring"] if tree.body and ast.get_docstring(tree) is None else []


def begins(path: str, source: str) -> list[str]:
    """A module's docstring begins with a noun phrase: what the module holds, by the term that a search would find."""
    first = (ast.get_docstring(_parse(source)) or "").partition(" ")[0].rstrip(":,.")
    name = not first or first[0] == "`" or first.startswith(NAMES)
    if name or path.startswith(MIGRATIONS) or not (first.lower() in NO_NOUNS or first in VERBS or first[0].islower()):
        return []
    return [f"{path}: begins with {first!r}; begin with what the module holds"]


def length(path: str, source: str) -> list[str]:
    """A function does one thing, so it is short."""
    return [
        f"{path}:{node.lineno}: {node.name} has {lines} lines, more than {MAX_FUNCTION_LINES}"
        for node in ast.walk(_parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not path.startswith(MIGRATIONS)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]


def waivers(path: str, source: str) -> list[str]:
    """What the linter is told to overlook carries the reason."""
    return [
        f"{path}:{number}: give the reason behind {match[0].strip()!r}"
        for number, line in enumerate(source.splitlines(), 1)
        if (match := re.search(r"# noqa(: [A-Z]+\d+(, ?[A-Z]+\d+)*)?\s*$", line))
    ]


def quotes(path: str, source: str) -> list[str]:
    """Sentences quote values by `quoted` or as reasons, which cut long ones; only what programs read has them whole."""
    if path.startswith("src/wgfleet/testing/"):
        return []
    tree = _parse(source)
    whole = {
        each
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "__repr__"
        for each in ast.walk(node)
    }
    return [
        f"{path}:{node.lineno}: use wgfleet.protocol.quotes.quoted"
        for node in ast.walk(tree)
        if isinstance(node, ast.FormattedValue) and node.conversion == ord("r") and node not in whole
    ]


def skips(path: str, source: str) -> list[str]:
    """A test that does not run proves nothing."""
    calls = {f"pytest.{way}" for way in ("skip", "xfail", "importorskip")}
    calls |= {f"pytest.mark.{way}" for way in ("skip", "skipif", "xfail")}
    return [f"{path}:{line}: {name}" for line, name in _used(source) if name in calls]


def marker(path: str, source: str) -> list[str]:
    """What needs root or a kernel of its own says so, and nothing else does."""
    if not PurePosixPath(path).name.startswith("test_"):
        return []
    used = {name for _, name in _used(source)}
    marked = {name.removeprefix("pytest.mark.") for name in used} & NEEDS.keys()
    expected = {
        mark
        for mark, modules in NEEDS.items()
        if any(name.startswith(modules) and not name.startswith(NEED_NOTHING) for name in used)
    }
    return [] if marked == expected else [f"{path}: marked {sorted(marked)}, expected {sorted(expected)}"]


def surfaces(path: str, source: str) -> list[str]:
    """What lies under the API speaks of no call and no command."""
    if not path.startswith(WITHOUT_SURFACE):
        return []
    return [
        f"{path}:{number}: {match[0]!r}; give the error a Hint"
        for number, line in enumerate(source.splitlines(), 1)
        if (match := SURFACE.search(line))
    ]


def plain(path: str, text: str) -> list[str]:
    """Texts read easily, in American spelling."""
    if not path.startswith(PLAIN):
        return []
    return [
        f"{path}:{number}: say {match[0]!r} in plain English"
        for number, line in enumerate(text.splitlines(), 1)
        if (match := ODD.search(line))
    ]


@lru_cache(maxsize=1)
def _plugins() -> dict[str, str]:
    """The plugins of the product with how the paths of their own modules begin, but for those whose names are words."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    return {
        name: "src/" + value.partition(":")[0].replace(".", "/")
        for points in project["entry-points"].values()
        for name, value in points.items()
        if name not in {"none", "null", "command"}
    }


def plugin_names(path: str, source: str) -> list[str]:
    """A plugin is named in its own modules only, so that another can take its place."""
    if path.startswith(NAMES_PLUGINS):
        return []
    return [
        f"{path}:{number}: the plugin {name!r}"
        for number, line in enumerate(source.splitlines(), 1)
        for name, own in _plugins().items()
        if not path.startswith(own)
        and re.search(rf"(?<![a-z0-9]){name}(?![a-z0-9])", SHORT_FIELDS.sub("", line.lower()))
    ]


def outside(path: str, text: str) -> list[str]:
    """The product names no registry host, and no path of a machine that it was written on."""
    return [
        f"{path}:{number}: {match[0]!r}"
        for number, line in enumerate(text.splitlines(), 1)
        if (match := OUTSIDE.search(line))
    ]


def scopes(routes: Iterable[Any], open_paths: Iterable[str]) -> list[str]:
    """Every route asks for a scope, or is one of the few that are open and need a reason for it."""
    found, seen = [], set()
    for route in routes:
        seen.add(route.path)
        if bool(_scopes_of(route.dependant)) == (route.path in open_paths):
            wrong = "is open and asks for a scope" if route.path in open_paths else "asks for no scope"
            found.append(f"{'|'.join(sorted(route.methods))} {route.path} {wrong}")
    return found + [f"{path} is open, but there is no such route" for path in open_paths if path not in seen]


def _scopes_of(dependant: Any) -> set[str]:
    inner = (_scopes_of(dependency) for dependency in dependant.dependencies)
    return set(dependant.own_oauth_scopes or ()).union(*inner)
