"""The panel's settings on the command line: where they come from, `check-settings`, `sample-settings`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from wgfleet.cli.output import say
from wgfleet.cli.panel_greeting import plain_address_hint
from wgfleet.cli.tree import complain, single
from wgfleet.panel import settings as panel_settings
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.errors import Invalid, PermanentError, TransientError
from wgfleet.panel.settings import DEFAULT_FILE, Settings, SettingsError, load_settings

EXIT_SETTINGS = 2

app = single()

SettingsFile = Annotated[Path | None, typer.Option("--settings-file", help=f"Default: {DEFAULT_FILE}, if it exists.")]


def load_or_exit(path: Path | None, overrides: dict[str, object] | None = None) -> Settings:
    """Load the settings; print every problem and exit with code 2 if there are any."""
    try:
        settings = load_settings(path, os.environ, overrides)
    except SettingsError as error:
        for problem in error.problems:
            complain(problem)
        raise typer.Exit(EXIT_SETTINGS) from None
    if settings.acme.directory is not None and settings.acme.dns_provider is not None:
        _check_acme(settings)
    return settings


def _check_acme(settings: Settings) -> None:
    try:
        DnsPlugins.installed(settings).open_for(settings.acme).close()
    except Invalid as error:
        complain(f"{error.field}: {error}")
        raise typer.Exit(EXIT_SETTINGS) from None


def _check_places(settings: Settings) -> None:
    from wgfleet.panel.reconcile.web_certificate_proofs import check_places  # noqa: PLC0415 - it brings the store

    try:
        check_places(settings.acme, settings.acme_names(), DnsPlugins.installed(settings))
    except PermanentError as error:
        say(f"error: acme.dns_provider: {error}", err=True)
        raise typer.Exit(EXIT_SETTINGS) from None
    except TransientError as error:
        say(f"warning: the DNS provider that is to answer the CA cannot be asked now: {error}", err=True)


def _check_programs(settings: Settings) -> None:
    from wgfleet.panel.address_providers.program import check_there  # noqa: PLC0415 - for the few who have programs

    wrong = False
    for name, command in settings.floating.programs.items():
        try:
            check_there(command[0])
        except PermanentError as error:
            say(f"error: floating.programs.{name}: {error}", err=True)
            wrong = True
    if wrong:
        raise typer.Exit(EXIT_SETTINGS)


@app.command()
def check_settings(settings_file: SettingsFile = None) -> None:
    """Check the panel's settings file and environment; print every error with its place.

    Programs have to be there. Where a DNS provider is to answer a CA, it is asked whether it could.
    """
    settings = load_or_exit(settings_file)
    _check_programs(settings)
    if settings.acme.dns_provider is not None and settings.acme_names():
        _check_places(settings)
    if (hint := plain_address_hint(settings)) is not None:
        typer.echo(f"warning: {hint}", err=True)
    typer.echo(f"settings are valid: data in {settings.data_dir}, listening on {', '.join(map(str, settings.listen))}")


@app.command()
def sample_settings() -> None:
    """Print a settings file with every key, its meaning and its default."""
    typer.echo(panel_settings.sample(), nl=False)
