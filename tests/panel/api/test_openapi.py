"""The OpenAPI document says what the API does."""

from typing import Any

import pytest
from fastapi.openapi.utils import get_openapi

from wgfleet.panel import api
from wgfleet.protocol.messages import AGENT_PORT


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    routes = [route for subject in api.SUBJECTS for route in subject.router.routes]
    found: dict[str, Any] = get_openapi(title="wgfleet", version="0", routes=routes)
    return found


def body(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    """The schema of an operation's body."""
    schema: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
    if reference := schema.get("$ref"):
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    return schema


def test_a_field_that_may_be_left_out_of_a_change_has_no_default(document: dict[str, Any]) -> None:
    patches = {path: operations["patch"] for path, operations in document["paths"].items() if "patch" in operations}
    assert len(patches) >= 4
    for path, operation in patches.items():
        schema = body(document, operation)
        assert not schema.get("required"), path
        for name, field in schema["properties"].items():
            assert "default" not in field, (path, name)
    # What is shown of a new thing, is shown: the test does not pass because nothing has defaults.
    assert body(document, document["paths"]["/api/nodes"]["post"])["properties"]["agent_port"]["default"] == AGENT_PORT


def test_what_an_agent_sends_and_gets_at_its_enrollment_is_the_protocols(document: dict[str, Any]) -> None:
    operation = document["paths"]["/api/enroll"]["post"]
    asked = body(document, operation)
    assert set(asked["properties"]) == {"token", "csr", "port"}
    assert asked["required"] == ["token", "csr"]
    assert asked["additionalProperties"] is True, "a later agent may say more"
    assert asked["properties"]["port"]["default"] == AGENT_PORT
    answer = operation["responses"]["201"]["content"]["application/json"]["schema"]
    assert answer["required"] == ["node_id", "certificate", "ca"]
