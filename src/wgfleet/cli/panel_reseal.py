"""`wgfleet panel reseal`: all secrets under the newest master key, so that an earlier one can be taken away."""

from collections.abc import Callable
from contextlib import closing
from os import environ

import typer

from wgfleet.panel import resealing
from wgfleet.panel.parts import Parts
from wgfleet.panel.vault import MASTER_KEY_FILE, MASTER_KEY_VARIABLE

EXIT_LEFT = 1


def reseal(parts: Parts, say: Callable[[str], None] = typer.echo) -> int:
    """Seal all secrets again, and say how many are left; return the exit code."""
    vault, key = parts.vault, parts.vault.current_id
    place = MASTER_KEY_VARIABLE if MASTER_KEY_VARIABLE in environ else parts.settings.data_dir / MASTER_KEY_FILE
    with closing(parts.store):
        counts = resealing.reseal(parts.store, vault, "panel")
        found = next(counts)
        say(f"master key {key} seals; {found.left} of {found.values} values are left")
        end = found
        for end in counts:
            if end.left != found.left:
                say(f"{end.left} left")
    for other, number in end.unreadable.items():
        say(
            f"{number} values were sealed by master key {other}, which is not in {place}: "
            "put it below the first there, and do this again"
        )
    if end.left > sum(end.unreadable.values()):
        say("some were being changed, or do not open; do it again, and if they stay: restore them from a backup")
    if end.left:
        return EXIT_LEFT
    say(f"all {end.values} values are sealed by master key {key}")
    if vault.earlier_ids:
        say(f"take {', '.join(vault.earlier_ids)} out of {place}, of every panel, and restart it")
    elif not found.left:
        say(f"for another key, put it before this one in {place} (openssl rand -base64 32) and restart the panel first")
    return 0
