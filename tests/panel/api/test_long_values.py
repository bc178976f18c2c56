"""Long values in refusals: whatever is wrong with one, the answer quotes its beginning, and not all that was sent."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.panel.conftest import one_database
from wgfleet.protocol.quotes import quoted

LONG = 10_000
MOST = 500  # characters of it that an answer may have
SHAPES = ("{}", "10.9.{}", "{}.example.com", "2030-01-{}", "https://{}/")
STREAMS = {"/api/events"}
THERE = {"config": "wg0", "node": "fra1", "node_id": "fra1"}
NEEDED: dict[str, Any] = {
    "pools": ["10.77.0.0/24"], "endpoint_addresses": ["192.0.2.77"], "node_id": "fra1", "domain": "vpn.example.com",
    "kind": "ldap", "role": "viewer", "peers": [],
}  # fmt: skip


class Bodies:
    """Bodies of the API with long texts in them, by its schemas."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._schemas = document["components"]["schemas"]

    def of(self, schema: dict[str, Any], text: str) -> Iterator[Any]:
        """Yield one whose every text is a given one; then for each field what is needed, and that field."""
        whole = self._filled(schema, text, 4)
        yield whole
        if isinstance(whole, dict):
            needed = {name: NEEDED.get(name, "wg7") for name in self._named(schema).get("required", ())}
            for name, value in whole.items():
                yield needed | {name: value}

    def _filled(self, schema: dict[str, Any], text: str, deeper: int) -> Any:
        schema = self._named(schema)
        for choice in ("anyOf", "oneOf", "allOf"):
            if choice in schema:
                return self._filled(schema[choice][0], text, deeper)
        if schema.get("type") == "object" and deeper:
            return {name: self._filled(each, text, deeper - 1) for name, each in schema.get("properties", {}).items()}
        if schema.get("type") == "array" and deeper:
            return [self._filled(schema.get("items", {}), text, deeper - 1)]
        return text

    def _named(self, schema: dict[str, Any]) -> dict[str, Any]:
        name = schema.get("$ref", "").rpartition("/")[2]
        return self._schemas[name] if name else schema


def requests(document: dict[str, Any], text: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and more of calls with a long value; none that would delete what others need."""
    bodies = Bodies(document)
    for path, calls in document["paths"].items():
        for method, call in calls.items() if path not in STREAMS else ():
            parameters = {each["name"]: each["in"] for each in call.get("parameters", [])}
            known = {name: THERE.get(name, "0" * 32) for name, place in parameters.items() if place == "path"}
            for name in known:
                yield method, path.format(**known | {name: text.replace("/", "")}), {}
            if method == "delete":
                continue
            for name in parameters.keys() - known.keys():
                yield method, path.format(**known), {"params": {name: text}}
            schema = call.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            for body in bodies.of(schema, text) if schema else ():
                yield method, path.format(**known), {"json": body}


@pytest.mark.slow
@pytest.mark.usefixtures("wg0", "fra1")
@one_database
@pytest.mark.parametrize("filler", ["x", "9"])
def test_no_refusal_repeats_a_long_value(client: httpx.Client, filler: str) -> None:
    document = client.get("/openapi.json").json()
    refused = 0
    for shape in SHAPES:
        for method, path, more in requests(document, shape.format(filler * LONG)):
            answer = client.request(method, path, **more)
            refused += answer.is_error
            said = answer.text + " ".join(answer.headers.values()) if answer.is_error else ""
            assert filler * MOST not in said, (method, path[:100], list(more), said[:300])
    assert refused > 1000


def test_a_value_is_quoted_whole_up_to_the_longest_name_of_a_host() -> None:
    assert quoted("a" * 255) == repr("a" * 255)
    assert quoted("a" * LONG) == f"'{'a' * 60}'... (10,000 characters)"
    assert quoted(5) == "5"
