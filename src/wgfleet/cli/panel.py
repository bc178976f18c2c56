"""`wgfleet panel`: prepare a panel's first start, and run it. Exit codes: 0 fine, 1 failed, 2 settings."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from wgfleet.cli import loading, panel_reseal
from wgfleet.cli.directories import directory
from wgfleet.cli.output import create_secret_file
from wgfleet.cli.panel_greeting import show_first_key
from wgfleet.cli.panel_settings import EXIT_SETTINGS, SettingsFile, check_settings, load_or_exit, sample_settings
from wgfleet.cli.tree import commands, complain
from wgfleet.panel import clock, logs
from wgfleet.panel.agents.authorities import pem_of
from wgfleet.panel.agents.authority import agent_server_name, described
from wgfleet.panel.data_dir import check_may_be_database, prepare_data_dir
from wgfleet.panel.errors import PanelError, PermanentError
from wgfleet.panel.files_lock import check_unlocked, lock_files
from wgfleet.panel.listening import open_plain_sockets, open_sockets
from wgfleet.panel.parts import Parts, prepare
from wgfleet.panel.server_certificate import ListenError, ServerCertificate
from wgfleet.panel.services import audit, certificates, incarnations
from wgfleet.panel.services.access import api_keys, callers, users
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store
from wgfleet.panel.store.databases import sqlite_file
from wgfleet.panel.store.schema import copy_to, has_been_used
from wgfleet.panel.tokens import new_token
from wgfleet.panel.vault import MASTER_KEY_FILE
from wgfleet.process import keep_little_memory, raise_open_files_limit
from wgfleet.protocol.messages import AGENT_PORT

EXIT_FAILED = 1
CALLER_FILES = ("panel.crt", "panel.key", "ca.crt")  # certificate, its key, and whom to believe
PRIVATE_UMASK = 0o077  # database, journals and keys are for the panel alone

app = commands()

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Directory of master key, database and agent state.", parser=directory)
]


app.command()(check_settings)
app.command()(sample_settings)


@app.command()
def init(settings_file: SettingsFile = None, data_dir: DataDir = None) -> None:
    """Create data directory, master key, database, CA and first admin key (printed once)."""
    settings = load_or_exit(settings_file, _overrides(data_dir))
    with _ends_with_a_word(settings):
        check_unlocked(settings)  # it would change the tables under one of an earlier release
    parts, first_key = _prepared(settings)
    with parts.store.read() as tx:
        fingerprint = parts.authorities.read(tx).newest.fingerprint
    parts.store.close()
    typer.echo(f"data directory: {settings.data_dir}")
    typer.echo(f"CA fingerprint: {fingerprint}")
    if first_key is None:
        typer.echo("there are API keys already; if they are lost: wgfleet panel admin-key NAME")


@app.command()
def admin_key(
    name: Annotated[str, typer.Argument(help="Name of the new key.")],
    settings_file: SettingsFile = None,
    data_dir: DataDir = None,
) -> None:
    """Create another admin key, in case all keys are lost; it is printed once."""
    parts = _opened(load_or_exit(settings_file, _overrides(data_dir)))
    store = parts.store
    try:
        with store.write() as tx:
            _, key = api_keys.create_key(tx, "panel", name, [callers.ADMIN])
    except PanelError as error:
        _end(error)
    finally:
        store.close()
    typer.echo(f"admin API key: {key}")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where the copy goes; it must not exist.")],
    settings_file: SettingsFile = None,
    data_dir: DataDir = None,
) -> None:
    """Copy a SQLite database safely, also while the panel runs. The master key is not in it: keep that apart."""
    settings = load_or_exit(settings_file, _overrides(data_dir))
    os.umask(PRIVATE_UMASK)
    if file.exists():
        _end(f"{file} exists; choose another name")
    _end_without_panel(settings)
    store = Store(settings.store_url)
    try:
        if store.engine.dialect.name != "sqlite":
            _end("the database is PostgreSQL: use pg_dump")
        copy_to(store, file)
    except (PanelError, PermanentError) as error:
        _end(error)
    finally:
        store.close()
    typer.echo(f"copied to {file}; after a restore run: wgfleet panel restored")


@app.command()
def restored(settings_file: SettingsFile = None, data_dir: DataDir = None) -> None:
    """Make this database, restored from a copy, the one that counts. A panel that runs on it notices by itself.

    Agents refuse a panel older than the one they obeyed last. Afterwards they obey it, and get their whole state.
    """
    parts = _opened(load_or_exit(settings_file, _overrides(data_dir)))
    store = parts.store
    try:
        with store.write() as tx:
            configs = incarnations.restored(tx, "panel")
    except PanelError as error:
        _end(error)
    finally:
        store.close()
    typer.echo(
        f"this database counts now; the nodes of {configs} configs get their whole state within seconds, or once the "
        "panel is started"
    )


@app.command()
def reseal(settings_file: SettingsFile = None, data_dir: DataDir = None) -> None:
    """Seal all secrets again by the first master key, after which the others can go; killed, it goes on next time.

    Panels that run need the new key in the first place, and a restart, before.
    """
    settings = load_or_exit(settings_file, _overrides(data_dir))
    os.umask(PRIVATE_UMASK)
    _end_without_panel(settings)
    with _ends_with_a_word(settings):
        parts, first_key = prepare(settings)
        show_first_key(settings.data_dir, first_key)
        raise typer.Exit(panel_reseal.reseal(parts))


@app.command()
def client_certificate(
    directory: Annotated[Path, typer.Argument(help="Directory for panel.crt, panel.key and ca.crt.")],
    days: Annotated[int, typer.Option(min=1, max=30, help="Days until it expires.")] = 1,
    settings_file: SettingsFile = None,
    data_dir: DataDir = None,
) -> None:
    """Write a certificate that lets curl call agents; audited."""
    taken = [name for name in CALLER_FILES if os.path.lexists(directory / name)]
    if taken:
        _end(f"{directory / taken[0]} exists; choose another directory")
    parts = _opened(load_or_exit(settings_file, _overrides(data_dir)))
    store = parts.store
    try:
        with store.read() as tx:
            state = parts.authorities.read(tx)
        # While the CA is replaced, all agents that are through with the last step believe the newest.
        identity = state.newest.issue_panel_client(clock.now(), days)
        with store.write() as tx:
            row = certificates.of_client(tx, "panel", described(identity.certificate))
            audit.record(tx, "panel", "client_certificate_issued", "certificate", row.id, serial=row.serial, days=days)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        texts = (identity.certificate, identity.key, pem_of(state.trusted))
        for name, text in zip(CALLER_FILES, texts, strict=True):
            create_secret_file(text, directory / name)
    except PanelError as error:
        _end(error)
    except OSError as error:
        _end(f"{error.filename}: {error.strerror}")
    finally:
        store.close()
    typer.echo(f"to end it before its time: wgfleet certificate revoke {row.id}")
    typer.echo("for example, on a machine that reaches the agent:")
    typer.echo(
        f"  cd {directory} && curl --cacert ca.crt --cert panel.crt --key panel.key "
        f"--connect-to {agent_server_name('NODE_ID')}:{AGENT_PORT}:AGENT_ADDRESS:{AGENT_PORT} "
        f"https://{agent_server_name('NODE_ID')}:{AGENT_PORT}/v1/status"
    )


@app.command()
def run(
    *,
    settings_file: SettingsFile = None,
    data_dir: DataDir = None,
    listen: Annotated[
        list[str] | None, typer.Option("--listen", help="ADDRESS:PORT; TLS unless on loopback; repeatable.")
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", help="Name or address by which others reach this panel, for its certificate; repeatable."
        ),
    ] = None,
    panel_node: Annotated[
        bool, typer.Option("--panel-node/--no-panel-node", help="Make this machine a node, if it can be one.")
    ] = True,
    panel_node_address: Annotated[
        list[str] | None, typer.Option("--panel-node-address", help="Address of this machine for clients; repeatable.")
    ] = None,
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait for the end of a panel that runs on the same data directory.")
    ] = False,
) -> None:
    """Run the panel until it is stopped."""
    with loading():
        from wgfleet.cli.panel_run import PanelRun  # noqa: PLC0415 - API and pages, which no other command needs

    overrides = _overrides(data_dir, listen, panel_node_address, name, panel_node=panel_node)
    settings = load_or_exit(settings_file, overrides)
    try:
        certificate = ServerCertificate(settings)
        sockets = open_sockets(settings.listen)
        plain_sockets = open_plain_sockets(settings)
    except ListenError as error:
        _end(error, EXIT_SETTINGS)
    logs.configure(settings.log.level, settings.log.format)
    raise_open_files_limit()
    keep_little_memory()
    os.umask(PRIVATE_UMASK)
    with _ends_with_a_word(settings):
        prepare_data_dir(settings.data_dir)  # before anything is put there: it may be of something else
        lock_files(settings, wait=standby, waiting=typer.echo)
        parts, first_key = prepare(settings)
        show_first_key(settings.data_dir, first_key)
        with parts.store.read() as tx:
            set_up = None if users.is_administered(tx) else new_token("wgu_")
        panel = PanelRun(parts, sockets, certificate, set_up, plain_sockets)
    # The children open their own: a connection must not be shared by processes.
    parts.store.close()
    panel.run()


def _overrides(
    data_dir: Path | None,
    listen: Sequence[str] | None = None,
    addresses: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    *,
    panel_node: bool = True,
) -> dict[str, Any]:
    """Return the settings that the command line overrides."""
    values: dict[str, Any] = {}
    if data_dir is not None:
        is_home = str(data_dir).startswith("~")  # as a shell leaves it behind an equals sign; the settings refuse it
        values["data_dir"] = data_dir if is_home else data_dir.absolute()
    if listen:
        values["listen"] = list(listen)
    if addresses:
        values.setdefault("panel_node", {})["endpoint_addresses"] = list(addresses)
    if names:
        values["tls"] = {"names": list(names)}
    if not panel_node:
        values.setdefault("panel_node", {})["enabled"] = False
    return values


def _opened(settings: Settings) -> Parts:
    """Open the parts of a panel that is there."""
    _end_without_panel(settings)
    return _prepared(settings)[0]


def _end_without_panel(settings: Settings) -> None:
    """End the program where no panel has been: a wrong directory must not become a second panel."""
    with _ends_with_a_word(settings), contextlib.closing(Store(settings.store_url)) as store:
        if (file := sqlite_file(settings.store_url)) is not None:
            check_may_be_database(file, settings.data_dir / MASTER_KEY_FILE)
        if not has_been_used(store):
            place = store.engine.url.database if store.engine.dialect.name == "sqlite" else "the database"
            _end(
                f"no panel has used {place}: name the panel's directory with --data-dir, or its settings with "
                "--settings-file; a new panel is made by `wgfleet panel init`"
            )


def _prepared(settings: Settings) -> tuple[Parts, str | None]:
    """Prepare the panel; show its first key immediately, because it is stored nowhere."""
    os.umask(PRIVATE_UMASK)
    with _ends_with_a_word(settings):
        parts, first_key = prepare(settings)
        show_first_key(settings.data_dir, first_key)
    return parts, first_key


@contextlib.contextmanager
def _ends_with_a_word(settings: Settings) -> Iterator[None]:
    """End the program with one line where a panel cannot be opened."""
    try:
        yield
    except OSError as error:
        way_out = "choose another with --data-dir" + (", or database_url" if settings.database_url else "")
        if isinstance(error, PermissionError) and os.geteuid() != 0:
            way_out = f"run this as root, or as the panel's user, or {way_out}"
        _end(f"{error.filename or settings.data_dir}: {error.strerror}; {way_out}")
    except (PanelError, PermanentError) as error:
        _end(error)


def _end(error: object, code: int = EXIT_FAILED) -> NoReturn:
    field = error.field if isinstance(error, PanelError) else None
    complain(f"{field}: {error}" if field else error)
    raise typer.Exit(code) from None
