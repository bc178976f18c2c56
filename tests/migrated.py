"""A SQLite database with all tables and no rows, to copy: migrating is the slow part of a new one."""

import atexit
import functools
import shutil
import tempfile
from contextlib import closing
from pathlib import Path

from wgfleet.panel.store import Store, schema


@functools.cache
def migrated() -> Path:
    """Return the file. There is one for each process of tests, as long as that runs."""
    folder = Path(tempfile.mkdtemp(prefix="wgfleet-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "panel.sqlite"
    with closing(Store(f"sqlite:///{file}")) as store:
        schema.migrate(store)
    return file


def migrated_at(path: Path) -> str:
    """Copy it to a path, and return SQLAlchemy's URL of the copy."""
    shutil.copyfile(migrated(), path)
    return f"sqlite:///{path}"
