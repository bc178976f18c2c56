"""The shape of the command tree: groups of commands, the other words that people try, and plain help."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from wgfleet.cli.plain_text import plain
from wgfleet.protocol.quotes import shortened

# Fields of the API whose option has another name.
OPTIONS = {
    "addresses": "address",
    "denied_networks": "deny_network",
    "download_speed": "download",
    "endpoint_addresses": "endpoint",
    "endpoint_name": "endpoint",
    "excluded_networks": "exclude",
    "floating_addresses": "floating_address",
    "lasts_s": "lasts",
    "listen_port": "port",
    "networks": "network",
    "node_id": "node",
    "pools": "pool",
    "reachable_configs": "reach_config",
    "relay_s": "relay_hours",
    "server_addresses": "server_address",
    "upload_speed": "upload",
}
SYNONYMS = {"ls": "list", "rm": "delete", "remove": "delete", "add": "create", "edit": "update", "get": "show"}

_USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]  # typer gives it no name
_NEGATIVE = re.compile(r"-\.?[0-9]")

_RUNNING: ContextVar[Any] = ContextVar("command")  # the command that was found last, which is the one that runs


class CommandRefused(Exception):
    """A command cannot be done; the text is for the user. Known without the libraries of those who call a panel."""

    exit_code = 1


def complain(error: object) -> None:
    """Say why a command is refused, or what failed; of long values the beginning, and nothing that a terminal obeys."""
    typer.echo(f"error: {shortened(plain(str(error)))}", err=True)


@contextmanager
def shortly() -> Iterator[None]:
    """Have what is refused in this block say the beginning of long values only."""
    try:
        yield
    except _USAGE_ERROR as error:
        error.message = shortened(error.message)  # type: ignore[attr-defined]  # as above
        raise


class NumberTakingCommand(TyperCommand):
    """A command that takes -5GB for a value, to be refused as one: no option begins with a digit.

    What is refused is said as the panel says it of its fields, and not in the words of a library.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse what was typed."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            listed = getattr(error.__cause__, "errors", None)
            if listed is not None:
                from wgfleet.panel.complaints import words  # noqa: PLC0415 - only where something is refused

                error.message = str(words(listed()[0]))
            raise

    def make_parser(self, ctx: Any) -> Any:
        """Return the parser, with another way for what looks like a negative number."""
        parser: Any = super().make_parser(ctx)
        process = parser._process_opts  # noqa: SLF001 - the only place that tells options from values

        def take(word: str, state: Any) -> None:
            if _NEGATIVE.match(word):
                state.largs.append(word)
            else:
                process(word, state)

        parser._process_opts = take  # noqa: SLF001 - as above
        return parser


class Commands(typer.Typer):
    """Commands, each of which takes negative numbers for values."""

    def command(self, *names: Any, **more: Any) -> Any:
        """Add a command as `Typer.command` does."""
        return super().command(*names, **{"cls": NumberTakingCommand, **more})


class CommandGroup(TyperGroup):
    """A group that takes common synonyms of its commands, and names what people look for here but is elsewhere."""

    # group -> word -> the command that is meant
    elsewhere: ClassVar[dict[str, dict[str, str]]] = {
        "wgfleet": {
            "assign": "wgfleet config assign",
            "doctor": "wgfleet status",
            "drain": "wgfleet node drain",
            "enroll": "wgfleet agent enroll",
            "events": "wgfleet audit list, or wgfleet status --watch",
            "health": "wgfleet config health",
            "help": "wgfleet --help",
            "init": "wgfleet panel init",
            "join": "wgfleet agent enroll, with what wgfleet node join prints",
            "logs": "wgfleet node logs",
            "qr": "wgfleet peer qr",
            "restore": "wgfleet panel restored",
            "run": "wgfleet panel run, or wgfleet agent run",
            "version": "wgfleet --version",
        },
        "node": {
            "assign": "wgfleet config assign",
            "enroll": "wgfleet node join",
            "disable": "wgfleet node cordon, or wgfleet node drain",
            "enable": "wgfleet node uncordon",
            "health": "wgfleet config health",
            "restart": "wgfleet node logs, and systemctl restart wgfleet-agent there",
            "status": "wgfleet status",
        },
        "backup": {"restore": "wgfleet backup download, which prints the interface for wg-quick"},
        "peer": {"usage": "wgfleet usage --peer", "qrcode": "wgfleet peer qr", "status": "wgfleet peer list"},
        "config": {
            "login": "wgfleet login",
            "check": "wgfleet panel check-settings",
            "sample": "wgfleet panel sample-settings",
            "disable": "wgfleet config update --disable",
            "enable": "wgfleet config update --enable",
            "rename": "wgfleet config create, as nodes call the interface so",
            "rotate-key": "wgfleet config create, as with a new key all files are new (docs/keys.md)",
            "rotate-keys": "wgfleet config create, as with a new key all files are new (docs/keys.md)",
        },
        "panel": {
            "key": "wgfleet key list",
            "restore": "wgfleet panel restored",
            "start": "wgfleet panel run, or systemctl start wgfleet-panel",
            "status": "wgfleet status",
            "stop": "Ctrl-C where it runs, or systemctl stop wgfleet-panel",
        },
    }

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name or a synonym of it, or say where it is."""
        found = super().get_command(ctx, cmd_name) or super().get_command(ctx, SYNONYMS.get(cmd_name, ""))
        if found is None:
            self.point_elsewhere(ctx, cmd_name, self.name or "")
        note_running(found)
        return found

    def point_elsewhere(self, ctx: Any, word: str, group: str) -> None:
        """End with the command that a word means, if it is one that people look for in this group."""
        meant = self.elsewhere.get(group, {}).get(word)
        if meant is not None and not ctx.resilient_parsing:
            self.suggest_commands = False  # by its letters another one may be near
            what = "; a config is a WireGuard network" if group == "config" else ""
            ctx.fail(f"No such command '{word}'{what}. See: {meant}")


def commands() -> typer.Typer:
    """Return an empty group of commands.

    Its help is plain: rich's tables cut the names of options at 80 columns.
    """
    return Commands(cls=CommandGroup, no_args_is_help=True, rich_markup_mode=None)


def note_running(command: Any) -> None:
    """Note which command runs: what is refused is said by its options."""
    _RUNNING.set(command)


def single() -> typer.Typer:
    """Return an application for one command that is in no group."""
    return Commands(rich_markup_mode=None)


def as_option(field: str) -> str:
    """Return the option of the running command that a field of the API was given by; the field where there is none.

    Of what a file gives, as the options of a DNS provider, the option of the file and the name in it.
    """
    first, *rest = re.split(r"[.\[]", field)
    if rest and (option := _option(f"{first}_{rest[0]}")) is not None:
        return ": ".join([option, *filter(None, [".".join(rest[1:])])])
    return _option(first) or field


def _option(name: str) -> str | None:
    for parameter in getattr(_RUNNING.get(None), "params", ()):
        if name == parameter.name or OPTIONS.get(name) == parameter.name or _long(name) in parameter.opts:
            return max(parameter.opts, key=len) if parameter.opts[0].startswith("-") else str(parameter.name).upper()
    return None


def _long(field: str) -> str:
    """Return the option that a list or a single value is given by."""
    return "--" + field.removesuffix("s").replace("_", "-")
