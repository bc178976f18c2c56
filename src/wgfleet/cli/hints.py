"""Ways out in the words of the commands: the API's errors name calls, which a person at a terminal cannot type."""

import re

# The longer path first: a shorter one would match its beginning.
_COMMANDS: tuple[tuple[str, str], ...] = (
    (r"POST /api/configs/(\S+?)/endpoint-group", r"`wgfleet config endpoint \1 --domain NAME`"),
    (r"DELETE /api/configs/(\S+?)/nodes/([^\s)]+)", r"`wgfleet config unassign \1 \2`"),
    (r"GET /api/configs/(\S+?)/peers", r"`wgfleet peer list \1`"),
    (r"GET /api/configs/(\S+?)/nodes", r"`wgfleet config nodes \1`"),
    (r"GET /api/configs", "`wgfleet config list`"),
    (r"GET /api/nodes", "`wgfleet node list`"),
    (r"GET /api/node-groups", "`wgfleet group list`"),
    (r"GET /api/backups", "`wgfleet backup list`"),
    (r"GET /api/operations", "`wgfleet operation list`"),
    (r"force=true", "--force"),
)


def in_commands(detail: str) -> str:
    """Replace the calls in an error's text by the commands that make them; others stay as they are."""
    for call, command in _COMMANDS:
        detail = re.sub(call, command, detail)
    return detail
