"""Fixtures that several kinds of tests share."""

import functools
import gc
import os
import socket
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path, PurePosixPath

import certifi
import pytest
from argon2 import PasswordHasher
from hypothesis import HealthCheck, settings
from sqlalchemy import Dialect, Engine, make_url
from sqlalchemy.exc import DBAPIError

from tests import groups, markers, programs
from tests.migrated import migrated_at
from tests.postgresql import PostgresqlServer, postgresql_server
from wgfleet.panel import clock, host_names, passwords, plugins
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.store import Store, databases, schema
from wgfleet.panel.store import engine as store_engine

gc.disable()  # while tests are collected: all that is made then stays
GARBAGE = (20_000, 20, 20)  # rows and statements come by the thousands, and go by themselves
AS_MANY = 20  # tests: what a module of slow ones counts for

# No time limits: a slow machine must not turn an invariant red.
settings.register_profile("wgfleet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("wgfleet"), max_examples=25)
settings.load_profile("wgfleet")


@pytest.fixture(scope="session", autouse=True)
def no_lookups() -> Iterator[None]:
    """Ask no resolver for the host names of tests: they are nobody's, and each answer would take its time."""

    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host_names, "getaddrinfo", nobody)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_authorities_of_the_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trust nobody where a client is not told whom: to read the world's authorities takes 20 ms, and no test meets one.

    OpenSSL wants one in the file; nobody has its key.
    """
    file = tmp_path_factory.mktemp("authorities") / "nobody.pem"
    file.write_text(Authority.create("nobody", clock.now()).certificate_pem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certifi, "where", lambda: str(file))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_compiler_of_statements(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compile each statement once for all databases of a kind: once for each would take a third of the tests' time."""
    of_nobody = f"sqlite:///{tmp_path_factory.mktemp('first')}/panel.db"
    kinds: dict[str, tuple[Dialect, dict[object, object]]] = {}

    def opened(url: str, *connections: int) -> Engine:
        engine = databases.open_database(url, *connections)
        if engine.dialect.name not in kinds:
            # An engine's own dialect learns at its first connection what the database is. A file is its test's, which
            # may keep it locked.
            first = databases.open_database(of_nobody) if engine.dialect.name == "sqlite" else engine
            try:
                first.connect().close()
            except DBAPIError:
                return engine
            kinds[engine.dialect.name] = (first.dialect, {})
        engine.dialect, compiled = kinds[engine.dialect.name]
        engine.update_execution_options(compiled_cache=compiled)
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_engine, "open_database", opened)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_look_for_plugins() -> Iterator[None]:
    """Look through what is installed once for all panels, and again where there is more to import from."""

    @functools.cache
    def looked(group: str, _path: tuple[str, ...]) -> EntryPoints:
        return entry_points(group=group)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "entry_points", lambda group: looked(group, tuple(sys.path)))
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_hashes() -> Iterator[None]:
    """Have passwords cost next to nothing to check, in this process: each takes a tenth of a second else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
        patch.setattr(passwords, "_nobody", [])
        yield


@pytest.fixture(scope="session", autouse=True)
def forks_in_labs() -> Iterator[None]:
    """Start the panels and agents of labs without the time that they take to load, half of what a lab takes."""
    with programs.forked_in_labs():
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--group", choices=groups.GROUPS, help="only the tests of this group; script/tests runs them all")


def pytest_configure(config: pytest.Config) -> None:
    """Note whether the command line names tests. A worker has this of the process above it: it is given all by name."""
    if not hasattr(config.option, "named_paths"):
        config.option.named_paths = config.args_source is config.ArgsSource.ARGS
    os.environ.pop("COLUMNS", None)  # a shell's, or that of readline in the process above: tables of tests are wide


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out, unread, what cannot be of the group. What is named on the command line is read all the same."""
    group = config.getoption("group")
    if group is None or collection_path.suffix != ".py" or config.option.named_paths:
        return None
    path = PurePosixPath(collection_path.relative_to(config.rootpath))
    return None if groups.possible(path, group, collection_path.read_text()) else True


@pytest.hookimpl(tryfirst=True)  # before the markers are chosen from
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _mark_postgresql(items)
    config.stash[markers.OF_FOLDERS] = _of_folders(config, items)
    if (group := config.getoption("group")) is not None:
        found = [_group(item) for item in items]
        config.hook.pytest_deselected(items=[item for item, its in zip(items, found, strict=True) if its != group])
        items[:] = [item for item, its in zip(items, found, strict=True) if its == group]
    if hasattr(config, "workerinput"):
        items.sort(key=_turn(items))


def pytest_collection_finish() -> None:
    """Have the collector of garbage never look at what was made while tests were collected, and seldom at the rest."""
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    gc.enable()


def _turn(items: list[pytest.Item]) -> Callable[[pytest.Item], int]:
    """Return when a test's module has its turn among those that several processes share: those of many tests first.

    What is slow goes as many, that none of it is the last that a process takes, while the others have nothing to do;
    and not as the most, for the labs may need the processors as long as they run.
    """
    weights = Counter(item.path for item in items)
    for item in items:
        if item.get_closest_marker("slow") is not None:
            weights[item.path] = max(weights[item.path], AS_MANY)
    return lambda item: -weights[item.path]


def _of_folders(config: pytest.Config, items: list[pytest.Item]) -> dict[str, set[str]] | None:
    """Return the markers of each folder's tests, unless some were left unread."""
    partly = any(config.getoption(name, None) for name in ("lf", "ignore", "ignore_glob"))
    if config.option.named_paths or partly or config.getoption("group") not in {None, groups.OTHERS}:
        return None
    found: defaultdict[str, set[str]] = defaultdict(set)
    for item in items:
        found[f"{item.path.parent.relative_to(config.rootpath)}/"] |= {mark.name for mark in item.iter_markers()}
    return found


def _group(item: pytest.Item) -> str:
    path = PurePosixPath(item.path.relative_to(item.config.rootpath))
    if item.get_closest_marker("lab") is None:
        return groups.of(path, lab=False)
    group = groups.of(path, lab=True)
    assert groups.possible(path, group, item.path.read_text()), (
        f"{path} is not read for its group: {groups.MARK!r} is not in it"
    )
    return group


def _mark_postgresql(items: list[pytest.Item]) -> None:
    """Mark what runs on PostgreSQL: a fixture's parameter says so, or a fixture of the server itself."""
    for item in items:
        if isinstance(item, pytest.Function):
            parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
            if "postgresql" in {*item.fixturenames, *(value for value in parameters if isinstance(value, str))}:
                item.add_marker(pytest.mark.postgresql)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    markers.begin({mark.name for mark in item.iter_markers()})
    return (yield)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """One real PostgreSQL server for the session."""
    with postgresql_server() as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql: PostgresqlServer) -> Iterator[str]:
    """SQLAlchemy's URL of a new, empty PostgreSQL database."""
    with postgresql.database() as url:
        yield url


@pytest.fixture(scope="session")
def postgresql_template(postgresql: PostgresqlServer) -> Iterator[str]:
    """The name of a PostgreSQL database with the schema and no rows."""
    with postgresql.database() as url:
        with closing(Store(url)) as store:
            schema.migrate(store)
        yield str(make_url(url).database)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """SQLAlchemy's URL of a new SQLite database with the schema."""
    return migrated_at(tmp_path / "panel.sqlite")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """SQLAlchemy's URL of a new database with the schema: the test runs on SQLite and on PostgreSQL.

    It is a copy: a migration for each test would be most of the time that the tests of rows take.
    """
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url")
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    with server.copy(request.getfixturevalue("postgresql_template")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLAlchemy's URL of a new, empty database: the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'panel.sqlite'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url
