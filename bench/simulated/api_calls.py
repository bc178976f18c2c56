"""The calls that bench/api.py times, each with what it would cost bare."""

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import quote

from bench.simulated import processes
from bench.simulated.clients import WARM, Call, Client, echo, figures, timed
from bench.simulated.panel import PanelProcess
from bench.simulated.people import People
from bench.simulated.rows import BareRows

CONFIG = "big0"
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Timed:
    """A call, the same one with fixed arguments (whose answer the floor sends), and its rows bare in ms."""

    call: Call
    sample: str
    bare_ms: Callable[[BareRows, list[str]], float]


def calls(people: People, of_list: str) -> Mapping[str, Timed]:
    """Return the calls by name; `of_list`: what the cursors of the list of all peers end with."""
    chosen = random.Random(1)  # noqa: S311 - which peer is shown is no secret
    ids, numbers = people.peers[CONFIG], count()
    of_config = f"/api/configs/{CONFIG}/peers"

    def get(path: Callable[[], str]) -> Timed:
        return Timed(lambda client: client.call("GET", path()), path(), BareRows.of_peers)

    def search(text: str) -> Timed:
        return get(lambda: f"{of_config}?limit=100&search={quote(text)}")

    def create(client: Client) -> Any:
        return client.call("POST", of_config, {"name": f"bench{next(numbers)}"})

    return {
        "list": get(lambda: f"{of_config}?limit=100"),
        "list_from_the_middle": get(lambda: f"{of_config}?limit=100&after={ids[len(ids) // 2]}{of_list}"),
        "search_of_many": search("phone"),
        "search_of_some": search("-99"),
        "search_of_one": search("-4711"),
        "search_of_none": search("nobody"),
        "search_persian": search("مریم-لپ"),
        "search_two_letters": search("an"),
        "search_one_letter": search("É"),
        "search_two_of_none": search("zz"),
        "get": get(lambda: f"/api/peers/{chosen.choice(ids)}"),
        "list_nodes": Timed(
            lambda client: client.call("GET", "/api/nodes?limit=100"),
            "/api/nodes?limit=100",
            lambda bare, _: bare.nodes(),
        ),
        "create": Timed(create, f"/api/peers/{ids[0]}", lambda bare, ids: bare.insert(ids[0])),
    }


def measure(panel: PanelProcess, people: People, bare: BareRows, seconds: float) -> Figures:
    """Time each call with 1 and with 8 clients, beside the floor; `cpu_ms` is the panel's for one."""
    port, key = panel.plain_port, panel.key
    first = json.loads(asyncio.run(_once(port, key, f"/api/configs/{CONFIG}/peers?limit=1")))
    wanted = calls(people, first["next"].removeprefix(first["items"][0]["id"]))
    answers = {each.sample: asyncio.run(_once(port, key, each.sample)) for each in wanted.values()}
    found: Figures = {}
    with echo(answers) as echo_port:
        for name, each in wanted.items():
            content = json.loads(answers[each.sample])
            shown = [row["id"] for row in content["items"]] if "items" in content else [content["id"]]
            floor_ms = each.bare_ms(bare, shown) if shown else 0.0
            found[name] = {"rows": len(shown), "bare_rows_ms": floor_ms}
            for clients in (1, 8):
                cpu_s = processes.cpu_s(panel.pid)
                took = figures(asyncio.run(timed(port, key, each.call, clients, seconds)))
                took["cpu_ms"] = round(
                    (processes.cpu_s(panel.pid) - cpu_s) / (took["calls"] + WARM * clients) * 1000, 2
                )
                least = figures(asyncio.run(timed(echo_port, key, _plain(each.sample), clients, seconds / 4)))
                ratio = took["p50_ms"] / (least["p50_ms"] + floor_ms * clients)
                found[name][f"{clients}_clients"] = took | {"echo_p50_ms": least["p50_ms"], "ratio": round(ratio, 1)}
    return found


def _plain(path: str) -> Call:
    return lambda client: client.call("GET", path)


async def _once(port: int, key: str, path: str) -> bytes:
    client = await Client.open(port, key)
    try:
        return await client.call("GET", path)
    finally:
        client.close()
