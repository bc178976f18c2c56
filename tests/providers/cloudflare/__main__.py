"""Run the stand-in by hand: `python -m tests.providers.cloudflare --port 8053 --zone example.com --log calls.jsonl`.

While it runs, `POST /_standin/faults` with a list of faults makes it misbehave and `DELETE` ends that;
`GET /_standin/exchanges` shows the calls, and `GET /_standin/answers?name=...` what a resolver would get.
"""

import argparse
import signal
from pathlib import Path

from tests.providers.cloudflare.environment import SECRET, ZONE, ZONE_ID
from tests.providers.cloudflare.server import running
from tests.providers.cloudflare.zones import Token, Zone


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for Cloudflare's DNS API on loopback.")
    parser.add_argument("--port", type=int, default=0, help="default: any")
    parser.add_argument("--zone", default=ZONE, help="the zone's name")
    parser.add_argument("--zone-id", default=ZONE_ID)
    parser.add_argument("--plan", default="free", choices=("free", "pro", "business", "enterprise"))
    parser.add_argument("--log", type=Path, help="each exchange as a line of JSON goes here")
    given = parser.parse_args()
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # in all threads, so that the one that waits gets them
    token = Token("t" * 32, SECRET, {given.zone_id: {"zone:read", "dns:edit"}})
    with running([Zone(given.zone_id, given.zone, given.plan)], [token], given.log, given.port) as stand_in:
        print(f"api_url: {stand_in.url}\nzone:    {given.zone} = {given.zone_id}\ntoken:   {SECRET}", flush=True)  # noqa: T201 - a program's output
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
