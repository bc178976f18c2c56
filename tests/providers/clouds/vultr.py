"""Vultr's API as published, as far as reserved IPs need it: detach before attach, cursors, answers without content."""

import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from tests.providers.clouds.server import CloudAnswer, CloudCall, CloudStandIn
from wgfleet.panel.address_providers import AddressNode
from wgfleet.panel.address_providers.vultr import Vultr, VultrOptions

SECRET = "VULTR-KEY-OF-THE-STAND-IN-0123456789"  # noqa: S105 - opens nothing
OTHERS_INSTANCE = "792199bb-620a-4e2c-ba3d-126c58f7f9d4"
MISSING = "Invalid reserved-ip."


@dataclass
class VultrRules:
    """One account. `reads`: after how many calls a detach has ended."""

    base: str = "/v2"
    token: str = SECRET
    reads: int = 2
    reserved: dict[str, dict[str, Any]] = field(default_factory=dict)
    instances: dict[str, dict[str, Any]] = field(default_factory=dict)
    detaching: dict[str, int] = field(default_factory=dict)

    def answer(self, call: CloudCall) -> CloudAnswer:
        for each in list(self.detaching):
            self._go_on(each)
        if match := re.fullmatch(r"/(reserved-ips|instances)", call.path):
            assert call.method == "GET", "not a method of this path"
            found = self.reserved if match[1] == "reserved-ips" else self.instances
            return self._page(match[1].replace("-", "_"), list(found.values()), call.query)
        assert not call.query, f"unknown parameters {call.query}"
        if match := re.fullmatch(r"/instances/([0-9a-f-]+)", call.path):
            assert call.method == "GET", "not a method of this path"
            row = self.instances.get(match[1])
            return CloudAnswer(200, {"instance": row}) if row else self.refusal(404, "", "Invalid instance.")
        match = re.fullmatch(r"/reserved-ips/([0-9a-f-]+)(?:/(attach|detach))?", call.path)
        assert match, "there is no such path"
        if match[1] not in self.reserved:
            return self.refusal(404, "", MISSING)
        if match[2] is None:
            assert call.method == "GET", "not a method of this path"
            return CloudAnswer(200, {"reserved_ip": self.reserved[match[1]]})
        assert call.method == "POST", "not a method of this path"
        return self._detach(match[1], call.body) if match[2] == "detach" else self._attach(match[1], call.body)

    def refusal(self, status: int, code: str, words: str) -> CloudAnswer:  # noqa: ARG002 - this cloud has no codes
        return CloudAnswer(status, {"error": words, "status": status})

    def _page(self, key: str, found: list[dict[str, Any]], query: dict[str, str]) -> CloudAnswer:
        assert query.keys() <= {"per_page", "cursor"}, f"unknown parameters {query}"
        per_page = int(query.get("per_page", "100"))
        start = int(query.get("cursor", "bmV4dF9f0").removeprefix("bmV4dF9f"))
        assert 1 <= per_page <= 500, "per_page is 500 at most"
        end = start + min(per_page, 2)  # so that a handful of rows has pages
        links = {"next": f"bmV4dF9f{end}" if end < len(found) else "", "prev": ""}
        return CloudAnswer(200, {key: found[start:end], "meta": {"total": len(found), "links": links}})

    def _go_on(self, identifier: str) -> None:
        self.detaching[identifier] -= 1
        if self.detaching[identifier] <= 0:
            del self.detaching[identifier]
            self.reserved[identifier]["instance_id"] = ""

    def _detach(self, identifier: str, body: Any) -> CloudAnswer:
        assert body is None, "no fields"
        if not self.reserved[identifier]["instance_id"]:
            return self.refusal(400, "", "Reserved IP is not attached.")
        self.detaching[identifier] = self.reads
        if self.reads <= 0:
            self._go_on(identifier)
        return CloudAnswer(204)

    def _attach(self, identifier: str, body: Any) -> CloudAnswer:
        assert isinstance(body, dict), "a body with the instance"
        assert body.keys() == {"instance_id"}, f"unknown or missing fields {body}"
        if body["instance_id"] not in self.instances:
            return self.refusal(404, "", "Invalid instance.")
        if self.reserved[identifier]["instance_id"]:
            return self.refusal(400, "", "Floating IPv4 address is already attached to another server")
        self.reserved[identifier]["instance_id"] = body["instance_id"]
        return CloudAnswer(204)


class VultrEnvironment:
    """An account with three reserved IPs, two instances of nodes, and one of somebody else."""

    secret = SECRET
    addresses = ("203.0.113.10", "2001:db8:10::", "203.0.113.11")
    nodes = (AddressNode("n1", "fra1", ("192.0.2.1",)), AddressNode("n2", "ams1", ("2001:db8:1::2",)))

    def __init__(self, rules: VultrRules) -> None:
        self.rules = rules
        self.writes_left = None if rules.reads > 0 else 1  # what was detached has yet to be attached
        self.stand_in = CloudStandIn(rules)
        self.instances = {
            "fra1": "2b9bf5fb-1644-4e0a-b706-1116ab64d783",
            "ams1": "b9cc6fad-70b1-40ee-ab6a-4d622858962f",
        }
        for identifier, ip, ip6 in (
            (OTHERS_INSTANCE, "192.0.2.99", ""),
            (self.instances["fra1"], "192.0.2.1", ""),
            (self.instances["ams1"], "192.0.2.2", "2001:db8:1::2"),
        ):
            self.rules.instances[identifier] = {
                "id": identifier, "main_ip": ip, "v6_main_ip": ip6, "region": "fra", "status": "active",
            }  # fmt: skip
        for number, ip in enumerate(self.addresses):
            identifier = f"6a31648d-ebfa-4d43-9a00-9c9f0e5048f{number}"
            v6 = ":" in ip
            self.rules.reserved[identifier] = {
                "id": identifier, "region": "fra", "ip_type": "v6" if v6 else "v4", "subnet": ip,
                "subnet_size": 64 if v6 else 32, "label": "vpn", "instance_id": "",
            }  # fmt: skip

    def provider(self, token: str = SECRET, url: str | None = None, timeout_s: float = 20.0) -> Vultr:
        return Vultr(VultrOptions(token=SecretStr(token), api_url=url or self.stand_in.url, timeout_s=timeout_s))

    def refused(self) -> Vultr:
        return self.provider(token=f"{SECRET}-revoked")

    def unreachable(self) -> Vultr:
        return self.provider(url="http://127.0.0.1:9/v2")

    def place(self, address: str, node: AddressNode | None) -> None:
        self._row(address)["instance_id"] = OTHERS_INSTANCE if node is None else self.instances[node.name]

    def holder(self, address: str) -> AddressNode | None:
        instance = self._row(address)["instance_id"]
        return next((node for node in self.nodes if self.instances[node.name] == instance), None)

    def _row(self, address: str) -> dict[str, Any]:
        return next(row for row in self.rules.reserved.values() if row["subnet"] == address)
