"""The panel's data directory: made for its owner alone, and closed to others where it is open."""

import errno
import os
import stat
from pathlib import Path

import structlog

from wgfleet.panel.errors import PermanentError
from wgfleet.protocol.reasons import Reason

OTHERS = 0o077
OURS = ("panel.*", "master.key", "agent", "first-admin-key", "lost+found")

log = structlog.get_logger()


def prepare_data_dir(data_dir: Path) -> None:
    """Make the directory, or close it and the database in it to others.

    Raises `PermanentError` if it is everybody's, or open to others and of something else, which they may need.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if data_dir.stat().st_mode & stat.S_ISVTX:
        raise PermanentError(
            Reason(
                "{data_dir} is a directory for everybody; choose one of the panel's own with --data-dir",
                data_dir=data_dir,
            )
        )
    if data_dir.stat().st_mode & OTHERS and not _may_be_a_panels(data_dir):
        raise PermanentError(
            Reason(
                "{data_dir} has files of something else, which would be closed to others; choose a directory of the "
                "panel's own with --data-dir",
                data_dir=data_dir,
            )
        )
    for path in (data_dir, *sorted(data_dir.glob("panel.sqlite*"))):
        found = path.stat()
        mode = stat.S_IMODE(found.st_mode)
        if not mode & OTHERS:
            continue
        if found.st_uid == os.geteuid():
            path.chmod(mode & ~OTHERS)
            log.warning("data_dir.closed_to_others", path=str(path), was=f"{mode:04o}")
        else:
            log.warning("data_dir.open_to_others", path=str(path), mode=f"{mode:04o}", owner=found.st_uid)


def check_may_be_database(file: Path, master_key: Path) -> None:
    """Raise `OSError` where no database can be, since a directory is there, or nobody gets there.

    Raises `PermanentError` where there was one, and all that was in it is gone: nodes obey no panel but their own.
    """
    if file.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    if master_key.exists() and _is_empty(file) and not _has_content(file.with_name(f"{file.name}-wal")):
        raise PermanentError(
            Reason(
                "the database {file} is empty, and {master_key} says that there was a panel; put a backup in its "
                "place, or delete the file where there is nothing to lose: a new panel with another CA begins then",
                file=file,
                master_key=master_key,
            )
        )


def _is_empty(file: Path) -> bool:
    return file.exists() and not _has_content(file)


def _has_content(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _may_be_a_panels(data_dir: Path) -> bool:
    """Say whether a directory is empty, or has something of a panel in it."""
    found = list(data_dir.iterdir())
    return not found or any(each.match(ours) for each in found for ours in OURS)
