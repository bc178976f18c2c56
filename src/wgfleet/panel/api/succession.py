"""Changes that a superseded panel refuses: its nodes obey another one, and nobody would carry them out.

Reads are answered, and so is what concerns this panel alone. `create_app` asks before each route.
"""

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.errors import Conflict
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.protocol.reasons import Reason

READS = {"GET", "HEAD", "OPTIONS"}
# Routes, each with its reason. A test holds every other one that is no read to be refused.
STILL_TAKEN = {
    "/api/keys": "keys let people look into this panel, and are its own",
    "/api/keys/{key}": "as above; who has lost a key must be able to revoke it",
    "/api/dns/{config}/check": "asks a provider, and changes nothing",
}


async def refuse_where_superseded(panel: ThePanel, request: Request) -> None:
    """Raise `Conflict` for a change at a panel that decides nothing."""
    if request.method in READS or request.scope["route"].path in STILL_TAKEN:
        return
    deciding = panel.deciding()
    why = await run_in_threadpool(panel.superseded) if deciding is None else deciding.superseded
    if why is not None:
        raise Conflict(
            Reason("this panel would not carry that out: {why}; make the change at that panel", why=why),
            Hint(HintCode.COUNT_AGAIN),
        )
