"""The lab's side of the panel's HTTP API: what a person with curl and the admin key would do."""

import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from wgfleet.lab.errors import LabError
from wgfleet.lab.waiting import wait_for

Document = dict[str, Any]
POLL_S = 0.02
_OPERATION_POLL_S = 0.1  # the panel shares its cores with the nodes that it works on


class PanelClient:
    """A panel, an API key, and the CA that the panel's certificate must be of."""

    def __init__(self, url: str, api_key: str, ca_file: Path) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"},
            verify=ssl.create_default_context(cafile=str(ca_file)),
            timeout=120,
            trust_env=False,  # the lab's addresses are not behind anybody's proxy
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def call(self, method: str, path: str, body: Document | None = None) -> Any:
        """Call the API and return the JSON it answers (None for no content); raise `LabError` with its problem."""
        response = self._call(method, path, body)
        return response.json() if response.content else None

    def text(self, path: str) -> str:
        """GET something that is text."""
        return self._call("GET", path, None).text

    def content(self, path: str) -> bytes:
        """GET something that is a file."""
        return self._call("GET", path, None).content

    def _call(self, method: str, path: str, body: Document | None) -> httpx.Response:
        try:
            response = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise LabError(f"{method} {path}: the panel does not answer: {error}") from error
        if response.is_error:
            raise LabError(f"{method} {path}: {response.status_code} {_detail(response)}")
        return response

    def all(self, path: str) -> list[Document]:
        """Return a whole list, piece by piece."""
        found: list[Document] = []
        after: str | None = None
        separator = "&" if "?" in path else "?"
        while True:
            page = self.call("GET", path if after is None else f"{path}{separator}after={after}")
            found += page["items"]
            after = page["next"]
            if after is None:
                return found

    def wait_operation(self, operation_id: str, *, timeout_s: float) -> Document:
        """Poll an operation until it has ended; raise unless it ended well."""
        operation = self.ended_operation(operation_id, timeout_s=timeout_s)
        if operation["state"] == "failed":
            raise LabError(f"operation {operation_id} has failed: {operation}")
        return operation

    def ended_operation(self, operation_id: str, *, timeout_s: float) -> Document:
        """Poll an operation until it has ended, well or not."""
        operation: Document = {}

        def ended() -> bool:
            nonlocal operation
            operation = self.call("GET", f"/api/operations/{operation_id}")
            return operation["state"] in ("succeeded", "failed")

        wait_for(
            ended,
            lambda: f"operation {operation_id} is still {operation['state']}: {operation}",
            within_s=timeout_s,
            every_s=_OPERATION_POLL_S,
        )
        return operation


def _detail(response: httpx.Response) -> str:
    try:
        problem = response.json()
        return str(problem.get("detail", problem))
    except (ValueError, AttributeError):
        return response.text[:300]
