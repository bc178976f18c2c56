"""The `wgfleet` program. Thin: every command calls the layer below it and prints.

Each group (and each command that is in none) is a module of this package with a `typer.Typer` named `app`. It is
imported only when it is asked for, so that an agent's machine needs none of the panel's libraries and completion stays
quick.
"""

import gc
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from types import ModuleType
from typing import Any

import typer

import wgfleet
from wgfleet.cli.streams import NO_ROOM, read_nothing, say_anything, write_no_more
from wgfleet.cli.tree import CommandGroup, CommandRefused, complain, note_running, shortly

# group -> (one line of help, library that it cannot do without)
GROUPS: dict[str, tuple[str, str]] = {
    "login": ("Choose the panel that all other commands talk to.", "httpx"),
    "logout": ("End the sign-in, and forget the key on this machine.", "httpx"),
    "status": ("Show what is wrong, who serves, and what runs.", "httpx"),
    "panel": ("Run the panel, prepare its first start, check its settings.", "fastapi"),
    "agent": ("Run the agent on a node, or enroll it.", "starlette"),
    "node": ("Servers that run the agent.", "httpx"),
    "group": ("Node groups, for placement.", "httpx"),
    "config": ("WireGuard networks, their nodes and endpoint.", "httpx"),
    "endpoint": ("What users' files name: domain, port, addresses.", "httpx"),
    "address": ("Floating addresses and the nodes that hold them.", "httpx"),
    "relay": ("Clients that a node relays after it left.", "httpx"),
    "peer": ("User devices and their files.", "httpx"),
    "import": ("Servers of other panels and scripts, with their users' keys.", "httpx"),
    "tag": ("Words for some peers, and settings of their files.", "httpx"),
    "rule-set": ("Destination rules: where peers may connect to.", "httpx"),
    "job": ("Limits of peers: traffic, dates, schedules.", "httpx"),
    "usage": ("What peers sent and received, on all nodes.", "httpx"),
    "dns": ("Published names: state, plans, approval.", "httpx"),
    "operation": ("Long-running work and its progress.", "httpx"),
    "backup": ("Copies made before a node was removed.", "httpx"),
    "certificate": ("Certificates of agents and panels, and revoking them.", "httpx"),
    "key": ("API keys, with which programs use the panel.", "httpx"),
    "user": ("People who sign in: roles, passwords, sign-ins.", "httpx"),
    "provider": ("Systems that vouch for people: OpenID Connect, LDAP.", "httpx"),
    "device": ("Devices of your own.", "httpx"),
    "audit": ("Who did what, and when.", "httpx"),
    "lab": ("A network of namespaces with real WireGuard on this machine.", "dns"),
}
COMMANDS = {
    "import",
    "login",
    "logout",
    "status",
    "usage",
}  # no groups: the module's application has the one command of this name
MODULES = {"import": "imports", "rule-set": "rule_set"}  # what names no module


class LazyGroup(CommandGroup):
    """The top level: it knows the names of all groups and commands, and imports one only to run it."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; what it refuses before it calls a panel is said in one line as well."""
        try:
            with shortly():
                return super().invoke(ctx)
        except CommandRefused as error:
            complain(error)
            raise typer.Exit(error.exit_code) from None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options before the first command."""
        with shortly():
            return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """Name every group whose library is installed."""
        own = super().list_commands(ctx)
        return [*own, *(name for name, (_, library) in GROUPS.items() if importlib.util.find_spec(library))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the group's module and turn its typer application into a command."""
        if cmd_name not in GROUPS:
            self.point_elsewhere(ctx, cmd_name, "wgfleet")
            cmd_name = cmd_name.removesuffix("es" if cmd_name.endswith("sses") else "s")
        if cmd_name not in GROUPS:
            if (near := get_close_matches(cmd_name, GROUPS, 1)) and not ctx.resilient_parsing:
                ctx.fail(f"No such command '{cmd_name}'. Did you mean '{near[0]}'?")
            return super().get_command(ctx, cmd_name)
        text, library = GROUPS[cmd_name]
        if importlib.util.find_spec(library) is None:
            typer.echo(f"wgfleet {cmd_name} needs the panel's libraries: script/install panel", err=True)
            raise typer.Exit(2)
        group = typer.main.get_group(_imported(f"wgfleet.cli.{MODULES.get(cmd_name, cmd_name)}").app)
        command: Any = group.commands[cmd_name] if cmd_name in COMMANDS else group
        note_running(command)
        command.name, command.short_help = cmd_name, text
        command.help = text if command is group else command.help
        return command


@contextmanager
def loading() -> Iterator[None]:
    """Import in this block. All that it makes stays: to look for garbage in it takes a fifth of a panel's start."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _imported(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    with loading():
        return importlib.import_module(name)


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"wgfleet {wgfleet.__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: bool = typer.Option(
        False, "--version", help="Print the version and end.", callback=_version, is_eager=True
    ),
) -> None:
    """One panel, many WireGuard nodes, one stock file per user that survives the loss of a node."""


def main() -> None:
    """Entry point of the installed program."""
    say_anything()
    read_nothing()
    try:
        app()
    except OSError as error:
        if error.strerror is None:  # not of the system
            raise
        if error.errno in NO_ROOM:
            complain(f"{error.filename or 'this'} cannot be written: {error.strerror}")
        else:
            complain(f"{error.filename or 'the folder that you are in'}: {error.strerror}")
        write_no_more()
        sys.exit(1)
