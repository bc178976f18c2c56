"""Hetzner Cloud's API as published, as far as floating IPs need it: ids, pages, actions that take time, locks."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from tests.providers.clouds.server import CloudAnswer, CloudCall, CloudStandIn, standing_in
from wgfleet.panel.address_providers import AddressNode, plugins
from wgfleet.panel.address_providers.hetzner import Hetzner, HetznerOptions

SECRET = "hetzner-token-of-the-stand-in-0123456789"  # noqa: S105 - opens nothing
OTHERS_SERVER = 9999


@dataclass
class HetznerRules:
    """One project. `reads`: after how many calls an action has ended. `strays`: it refuses to reassign.

    `lies`: actions end well and change nothing.
    """

    base: str = "/v1"
    token: str = SECRET
    reads: int = 2
    strays: bool = False
    lies: bool = False
    fails: str | None = None
    floating: dict[int, dict[str, Any]] = field(default_factory=dict)
    servers: dict[int, dict[str, Any]] = field(default_factory=dict)
    actions: dict[int, dict[str, Any]] = field(default_factory=dict)

    def answer(self, call: CloudCall) -> CloudAnswer:
        for action in self.actions.values():
            self._go_on(action)
        if call.method == "GET":
            assert call.body is None, "a GET has no body"
            if match := re.fullmatch(r"/(floating_ips|servers)", call.path):
                return self._page(match[1], list(getattr(self, match[1].removesuffix("_ips")).values()), call.query)
            assert not call.query, f"unknown parameters {call.query}"
        if match := re.fullmatch(r"/(floating_ip|server|action)s/(\d+)", call.path):
            assert call.method == "GET", "not a method of this path"
            return self._one(match[1], int(match[2]))
        match = re.fullmatch(r"/floating_ips/(\d+)/actions/(assign|unassign)", call.path)
        assert match, "there is no such path"
        assert call.method == "POST", "not a method of this path"
        return self._act(int(match[1]), match[2], call.body)

    def refusal(self, status: int, code: str, words: str) -> CloudAnswer:
        return CloudAnswer(status, {"error": {"code": code, "message": words, "details": None}}, self._limits())

    def _limits(self) -> dict[str, str]:
        return {"RateLimit-Limit": "3600", "RateLimit-Remaining": "2456", "RateLimit-Reset": "4102444800"}

    def _page(self, what: str, found: list[dict[str, Any]], query: dict[str, str]) -> CloudAnswer:
        assert query.keys() <= {"page", "per_page", "name", "sort"}, f"unknown parameters {query}"
        per_page, page = int(query.get("per_page", "25")), int(query.get("page", "1"))
        assert 1 <= per_page <= 50, "per_page is 50 at most"
        part = found[(page - 1) * per_page : page * per_page]
        last = max(1, -(-len(found) // per_page))
        pagination = {
            "page": page, "per_page": per_page, "previous_page": page - 1 or None,
            "next_page": page + 1 if page < last else None, "last_page": last, "total_entries": len(found),
        }  # fmt: skip
        return CloudAnswer(200, {what: part, "meta": {"pagination": pagination}}, self._limits())

    def _one(self, kind: str, number: int) -> CloudAnswer:
        rows = {"floating_ip": self.floating, "server": self.servers, "action": self.actions}[kind]
        if number not in rows:
            return self.refusal(404, "not_found", f"{kind} with ID '{number}' not found")
        shown = {key: value for key, value in rows[number].items() if not key.startswith("_")}
        return CloudAnswer(200, {("floating_ip" if kind == "floating_ip" else kind): shown}, self._limits())

    def _go_on(self, action: dict[str, Any]) -> None:
        action["_reads"] -= 1
        if action["status"] == "running" and action["_reads"] <= 0:
            action["progress"] = 100
            if self.fails:
                action |= {"status": "error", "error": {"code": self.fails, "message": "Action failed"}}
            else:
                action["status"] = "success"
                if not self.lies:
                    self.floating[action["resources"][0]["id"]]["server"] = action["_server"]

    def _act(self, number: int, what: str, body: Any) -> CloudAnswer:
        if number not in self.floating:
            return self.refusal(404, "not_found", f"floating_ip with ID '{number}' not found")
        floating = self.floating[number]
        server = None
        if what == "assign":
            assert isinstance(body, dict), "a body with the server"
            assert body.keys() == {"server"}, f"unknown or missing fields {body}"
            server = body["server"]
            assert type(server) is int, "the server's id is a number"
            if server not in self.servers:
                return self.refusal(404, "not_found", f"server with ID '{server}' not found")
        else:
            assert body in ({}, None), "no fields"
        if any(each["status"] == "running" and each["resources"][0]["id"] == number for each in self.actions.values()):
            return self.refusal(423, "locked", "floating_ip is locked")
        if what == "assign" and self.strays and floating["server"] is not None:
            return self.refusal(422, "floating_ip_assigned", "the floating IP is already assigned")
        action: dict[str, Any] = {
            "id": 1000 + len(self.actions), "command": f"{what}_floating_ip", "status": "running", "progress": 0,
            "started": "2026-01-30T23:55:00+00:00", "finished": None, "error": None,
            "resources": [{"id": number, "type": "floating_ip"}], "_reads": self.reads, "_server": server,
        }  # fmt: skip
        self.actions[action["id"]] = action
        if self.reads <= 0:
            self._go_on(action)
        shown = {key: value for key, value in action.items() if not key.startswith("_")}
        return CloudAnswer(201, {"action": shown}, self._limits())


@contextmanager
def standing_in_for_hetzner() -> Iterator["HetznerEnvironment"]:
    """Have a project stand there, whose actions end at once, and let providers call it."""
    made = HetznerEnvironment(HetznerRules(reads=0))
    plugins.allow(["127.0.0.1"])
    with standing_in(made.stand_in):
        yield made
    plugins.allow([])


class HetznerEnvironment:
    """A project with three floating IPs, two servers of nodes, and more than a page of others."""

    secret = SECRET
    addresses = ("203.0.113.10", "2001:db8:10::1", "203.0.113.11")
    nodes = (
        AddressNode("n1", "fra1", ("192.0.2.1", "2001:db8:1::1")),
        AddressNode("n2", "ams1", ("192.0.2.2",)),
    )

    def __init__(self, rules: HetznerRules) -> None:
        self.rules = rules
        self.writes_left = None if rules.reads > 0 else 0
        self.stand_in = CloudStandIn(rules)
        for number in range(60):
            self._server(5000 + number, f"192.0.2.{100 + number}")
        self._server(OTHERS_SERVER, "192.0.2.99")
        self.servers = {"fra1": 42, "ams1": 43}
        self._server(42, "192.0.2.1")
        self._server(43, "192.0.2.2")
        for number, ip in enumerate(("203.0.113.10", "2001:db8:10::/64", "203.0.113.11"), 600):
            kind = "ipv6" if ":" in ip else "ipv4"
            self.rules.floating[number] = {
                "id": number, "name": f"vpn-{number}", "description": None, "ip": ip, "type": kind, "server": None,
                "dns_ptr": [], "home_location": {"id": 1, "name": "fsn1"}, "blocked": False, "labels": {},
                "protection": {"delete": False}, "created": "2026-01-30T23:50:00+00:00",
            }  # fmt: skip

    def _server(self, number: int, ip: str) -> None:
        self.rules.servers[number] = {
            "id": number, "name": f"server-{number}", "status": "running",
            "public_net": {
                "ipv4": {"ip": ip, "blocked": False, "dns_ptr": "static.example.com"},
                "ipv6": {"ip": f"2001:db8:{number:x}::/64", "blocked": False, "dns_ptr": []},
                "floating_ips": [],
            },
        }  # fmt: skip

    def provider(self, token: str = SECRET, url: str | None = None, timeout_s: float = 20.0) -> Hetzner:
        return Hetzner(HetznerOptions(token=SecretStr(token), api_url=url or self.stand_in.url, timeout_s=timeout_s))

    def refused(self) -> Hetzner:
        return self.provider(token=f"{SECRET}-revoked")

    def unreachable(self) -> Hetzner:
        return self.provider(url="http://127.0.0.1:9/v1")

    def place(self, address: str, node: AddressNode | None) -> None:
        self._row(address)["server"] = OTHERS_SERVER if node is None else self.servers[node.name]

    def holder(self, address: str) -> AddressNode | None:
        server = self._row(address)["server"]
        return next((node for node in self.nodes if self.servers[node.name] == server), None)

    def _row(self, address: str) -> dict[str, Any]:
        return self.rules.floating[600 + self.addresses.index(address)]
