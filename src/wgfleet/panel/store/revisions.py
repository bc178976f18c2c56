"""The revisions of the schema, and alembic, which carries them out; loaded where there is something to migrate."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from wgfleet.panel.errors import PermanentError
from wgfleet.protocol.quotes import quoted

MIGRATIONS = Path(__file__).parent / "migrations"


def configuration(connection: Connection | None = None) -> Config:
    """Return alembic's configuration; there is no alembic.ini. Commands that reach the database need `connection`."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "r%%(rev)s_%%(slug)s")
    return config


def upgrade(connection: Connection) -> None:
    """Carry out all revisions that the database has not had, in the connection's transaction."""
    command.upgrade(configuration(connection), "head")


def refuse_unknown(revision: str) -> None:
    """Raise `PermanentError` for a revision that only a newer program knows."""
    try:
        scripts().get_revision(revision)
    except CommandError:
        raise PermanentError(
            f"the database has revision {quoted(revision)}, which this program does not know: a newer one has used it; "
            "run that version, or restore a copy of the database from before the upgrade"
        ) from None


@cache
def scripts() -> ScriptDirectory:
    """Return the revisions of this program."""
    return ScriptDirectory.from_config(configuration())
