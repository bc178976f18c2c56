"""`wgfleet config check` and `wgfleet config sample`: the panel's settings, without a panel."""

import os
from pathlib import Path
from typing import Annotated

import typer

from wgfleet.panel import settings as panel_settings
from wgfleet.panel.settings import DEFAULT_FILE, Settings, SettingsError, load_settings

EXIT_SETTINGS = 2

app = typer.Typer()


def load_or_exit(path: Path | None, overrides: dict[str, object] | None = None) -> Settings:
    """Load the settings; print every problem and end with code 2 where there is one."""
    try:
        return load_settings(path, os.environ, overrides)
    except SettingsError as error:
        for problem in error.problems:
            typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(EXIT_SETTINGS) from None


@app.command()
def check(
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help=f"Settings file; else {DEFAULT_FILE} where there is one.")
    ] = None,
) -> None:
    """Check the panel's settings file and environment; print every error with its place."""
    settings = load_or_exit(file)
    typer.echo(f"settings are fine: data in {settings.data_dir}, listening on {', '.join(map(str, settings.listen))}")


@app.command()
def sample() -> None:
    """Print a settings file with every key, its meaning and its default."""
    typer.echo(panel_settings.sample(), nl=False)
