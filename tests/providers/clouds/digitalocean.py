"""DigitalOcean's API as published, as far as reserved IPs need it: actions that take time, locks, pages of droplets."""

import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from tests.providers.clouds.server import CloudAnswer, CloudCall, CloudStandIn
from wgfleet.panel.address_providers import AddressNode
from wgfleet.panel.address_providers.digitalocean import DigitalOcean, DigitalOceanOptions

SECRET = "dop_v1_of-the-stand-in-0123456789"  # noqa: S105 - opens nothing
OTHERS_DROPLET = 9999


@dataclass
class DigitalOceanRules:
    """One team. `reads`: after how many calls an action has ended; `fails`: with an error."""

    base: str = "/v2"
    token: str = SECRET
    reads: int = 2
    fails: bool = False
    reserved: dict[str, int | None] = field(default_factory=dict)
    droplets: dict[int, dict[str, Any]] = field(default_factory=dict)
    actions: dict[int, dict[str, Any]] = field(default_factory=dict)

    def answer(self, call: CloudCall) -> CloudAnswer:
        for action in self.actions.values():
            self._go_on(action)
        if call.path == "/droplets":
            assert call.method == "GET", "not a method of this path"
            return self._page(call.query)
        match = re.fullmatch(r"/reserved_ips/([0-9.]+)(/actions)?(?:/(\d+))?", call.path)
        assert match, "there is no such path"
        assert not call.query, f"unknown parameters {call.query}"
        ip = match[1]
        if ip not in self.reserved:
            return self.refusal(404, "not_found", "The resource you were accessing could not be found.")
        if match[3]:
            assert call.method == "GET", "not a method of this path"
            return CloudAnswer(200, {"action": self._shown(self.actions[int(match[3])])})
        if match[2]:
            assert call.method == "POST", "listing actions is not what a provider needs"
            return self._act(ip, call.body)
        assert call.method == "GET", "not a method of this path"
        assert call.body is None, "a GET has no body"
        droplet = self.reserved[ip]
        shown = {
            "ip": ip, "droplet": None if droplet is None else self.droplets[droplet], "region": {"slug": "nyc3"},
            "locked": self._locked(ip), "project_id": "746c6152-2fa2-11ed-92d3-27aaa54e4988",
        }  # fmt: skip
        return CloudAnswer(200, {"reserved_ip": shown})

    def refusal(self, status: int, code: str, words: str) -> CloudAnswer:
        return CloudAnswer(status, {"id": code, "message": words, "request_id": "4d9d8375-3c56-4925-a3e7-eb137fed17e9"})

    def _locked(self, ip: str) -> bool:
        return any(each["status"] == "in-progress" and each["_ip"] == ip for each in self.actions.values())

    def _page(self, query: dict[str, str]) -> CloudAnswer:
        assert query.keys() <= {"page", "per_page", "name", "tag_name"}, f"unknown parameters {query}"
        per_page, page = int(query.get("per_page", "20")), int(query.get("page", "1"))
        assert 1 <= per_page <= 200, "per_page is 200 at most"
        found = list(self.droplets.values())
        part = found[(page - 1) * per_page : page * per_page]
        return CloudAnswer(200, {"droplets": part, "links": {}, "meta": {"total": len(found)}})

    def _go_on(self, action: dict[str, Any]) -> None:
        action["_reads"] -= 1
        if action["status"] == "in-progress" and action["_reads"] <= 0:
            action["status"] = "errored" if self.fails else "completed"
            if not self.fails:
                self.reserved[action["_ip"]] = action["_droplet"]

    def _act(self, ip: str, body: Any) -> CloudAnswer:
        assert isinstance(body, dict), "a body with the type"
        assert body.keys() == {"type", "droplet_id"}, f"unknown or missing fields {body}"
        assert body["type"] == "assign", "another action than the provider needs"
        assert type(body["droplet_id"]) is int, "the droplet's id is a number"
        if body["droplet_id"] not in self.droplets:
            return self.refusal(422, "unprocessable_entity", "Droplet not found")
        if self._locked(ip):
            return self.refusal(422, "unprocessable_entity", "The reserved IP already has a pending event.")
        action: dict[str, Any] = {
            "id": 7000 + len(self.actions), "status": "in-progress", "type": "assign_ip", "completed_at": None,
            "started_at": "2026-01-30T23:55:00Z", "resource_id": 758603823, "resource_type": "reserved_ip",
            "_ip": ip, "_droplet": body["droplet_id"], "_reads": self.reads,
        }  # fmt: skip
        self.actions[action["id"]] = action
        if self.reads <= 0:
            self._go_on(action)
        return CloudAnswer(201, {"action": self._shown(action)})

    def _shown(self, action: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in action.items() if not key.startswith("_")}


class DigitalOceanEnvironment:
    """A team with three reserved IPs, two droplets of nodes, and more than a page of others."""

    secret = SECRET
    addresses = ("203.0.113.10", "203.0.113.11", "203.0.113.12")
    nodes = (AddressNode("n1", "fra1", ("192.0.2.1",)), AddressNode("n2", "ams1", ("2001:db8:1::2",)))

    def __init__(self, rules: DigitalOceanRules) -> None:
        self.rules = rules
        self.writes_left = None if rules.reads > 0 else 0
        self.stand_in = CloudStandIn(rules)
        self.droplets = {"fra1": 42, "ams1": 43}
        for number in range(210):
            self._droplet(5000 + number, f"198.18.7.{number}")
        self._droplet(OTHERS_DROPLET, "192.0.2.99")
        self._droplet(42, "192.0.2.1")
        self._droplet(43, "192.0.2.2", "2001:db8:1::2")
        self.rules.reserved |= dict.fromkeys(self.addresses)

    def _droplet(self, number: int, ip: str, ip6: str | None = None) -> None:
        v6 = [] if ip6 is None else [{"ip_address": ip6, "netmask": 64, "gateway": "2001:db8:1::1", "type": "public"}]
        v4 = [{"ip_address": ip, "netmask": "255.255.255.0", "gateway": "192.0.2.254", "type": "public"}]
        self.rules.droplets[number] = {"id": number, "name": f"d-{number}", "networks": {"v4": v4, "v6": v6}}

    def provider(self, token: str = SECRET, url: str | None = None, timeout_s: float = 20.0) -> DigitalOcean:
        return DigitalOcean(
            DigitalOceanOptions(token=SecretStr(token), api_url=url or self.stand_in.url, timeout_s=timeout_s)
        )

    def refused(self) -> DigitalOcean:
        return self.provider(token=f"{SECRET}-revoked")

    def unreachable(self) -> DigitalOcean:
        return self.provider(url="http://127.0.0.1:9/v2")

    def place(self, address: str, node: AddressNode | None) -> None:
        self.rules.reserved[address] = OTHERS_DROPLET if node is None else self.droplets[node.name]

    def holder(self, address: str) -> AddressNode | None:
        return next((node for node in self.nodes if self.droplets[node.name] == self.rules.reserved[address]), None)
