"""The panel's settings on the command line: where they come from, `check-settings`, `sample-settings`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from wgfleet.panel import settings as panel_settings
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.errors import Invalid
from wgfleet.panel.settings import DEFAULT_FILE, Settings, SettingsError, load_settings

EXIT_SETTINGS = 2

app = typer.Typer()

SettingsFile = Annotated[Path | None, typer.Option("--settings-file", help=f"Default: {DEFAULT_FILE}, if it exists.")]


def load_or_exit(path: Path | None, overrides: dict[str, object] | None = None) -> Settings:
    """Load the settings; print every problem and exit with code 2 if there are any."""
    try:
        settings = load_settings(path, os.environ, overrides)
    except SettingsError as error:
        for problem in error.problems:
            typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(EXIT_SETTINGS) from None
    if settings.acme.directory is not None and settings.acme.dns_provider is not None:
        _check_acme(settings)
    return settings


def _check_acme(settings: Settings) -> None:
    try:
        DnsPlugins.installed(settings).open_for(settings.acme).close()
    except Invalid as error:
        typer.echo(f"error: {error.field}: {error}", err=True)
        raise typer.Exit(EXIT_SETTINGS) from None


@app.command()
def check_settings(settings_file: SettingsFile = None) -> None:
    """Check the panel's settings file and environment; print every error with its place."""
    settings = load_or_exit(settings_file)
    typer.echo(f"settings are valid: data in {settings.data_dir}, listening on {', '.join(map(str, settings.listen))}")


@app.command()
def sample_settings() -> None:
    """Print a settings file with every key, its meaning and its default."""
    typer.echo(panel_settings.sample(), nl=False)
