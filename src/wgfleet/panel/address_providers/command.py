"""Provider `command`: a program of the panel's machine that says where an address is, and brings it to a node.

Which programs there are is in the panel's settings alone; an endpoint group chooses one by name and gives it values.
The program reads one JSON object and writes one; docs/floating.md describes both.
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from wgfleet.panel.address_providers import AddressNode
from wgfleet.panel.address_providers.program import Finished, run
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.provider_answers import one_line
from wgfleet.protocol.quotes import quoted
from wgfleet.protocol.reasons import Reason

SETTING = "floating.programs"
VERSION = 1  # of what is asked and answered
MAX_WORDS = 300
MAX_WAIT_S = 3600
# sysexits(3): what another try does not change. Everything else may be over in a moment.
USAGE, NO_PERMISSION, CONFIGURATION = 64, 77, 78
_PERMANENT = frozenset({USAGE, NO_PERMISSION, CONFIGURATION})
_programs: Mapping[str, tuple[str, ...]] = MappingProxyType({})


def allow(programs: Mapping[str, Sequence[str]]) -> None:
    """Let providers of this process run these programs, and no others."""
    global _programs  # noqa: PLW0603 - of a process, as the installed plugins are
    _programs = MappingProxyType({name: tuple(command) for name, command in programs.items()})


class CommandOptions(BaseModel):
    """`program`: its name in the panel's settings. `values` and `secrets` are passed on to it. Times in s."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    program: str
    values: dict[str, str] = Field(default_factory=dict, max_length=300)
    secrets: dict[str, SecretStr] = Field(default_factory=dict, max_length=20)
    timeout_s: float = Field(default=10.0, ge=0.1, le=60)

    @field_validator("program")
    @classmethod
    def _is_allowed(cls, value: str) -> str:
        if value not in _programs:
            raise ValueError(
                Reason(
                    "there is no such program; an administrator can allow one: {setting} in the settings",
                    setting=SETTING,
                )
            )
        return value


class CommandProvider:
    """One program with its values. May be used from several threads."""

    name: ClassVar[str] = "command"
    on_agent: ClassVar[bool] = False
    Options: ClassVar[type[BaseModel]] = CommandOptions

    def __init__(self, options: CommandOptions) -> None:
        self._program = options.program
        self._command = _programs.get(options.program, ())
        self._values = options.values
        self._secrets = options.secrets
        self._timeout_s = options.timeout_s

    def __repr__(self) -> str:
        return f"CommandProvider({self._program!r})"

    def holder(self, address: str, nodes: Sequence[AddressNode]) -> AddressNode | None:
        """Return the node that the program names; None also for a machine that is no node of these."""
        answer = self._ask("holder", address, nodes=[_node(node) for node in nodes])
        if "node" not in answer or not isinstance(answer["node"], str | None):
            raise TransientError(
                Reason(
                    "program {program!r} does not say who has {address}: it must write the JSON object "
                    '{{"node": ID}}, with null for ID where no node has it',
                    program=self._program,
                    address=address,
                )
            )
        return next((node for node in nodes if node.id == answer["node"]), None)

    def assign(self, address: str, node: AddressNode) -> None:
        """Have the program bring the address to the node; it has done so, or begun to, when it ends with 0."""
        self._ask("assign", address, node=_node(node))

    def close(self) -> None:
        """Nothing is open."""

    def _ask(self, action: str, address: str, **more: Any) -> dict[str, Any]:
        if not self._command:
            raise PermanentError(
                Reason(
                    "program {program!r} is not in {setting} of the panel's settings any more",
                    program=self._program,
                    setting=SETTING,
                )
            )
        secrets = {key: value.get_secret_value() for key, value in self._secrets.items()}
        asked = {"version": VERSION, "action": action, "address": address, **more}
        request = {**asked, "values": self._values, "secrets": secrets}
        finished = run(self._program, self._command, json.dumps(request).encode() + b"\n", self._timeout_s)
        answer = _object(finished.output)
        if finished.code == 0:
            return answer
        where = f" for node {quoted(more['node']['name'])}" if "node" in more else ""
        text = (
            f"program {quoted(self._program)} failed at {action} of {address}{where}: {self._words(finished, answer)}"
        )
        if finished.code in _PERMANENT:
            raise PermanentError(text)
        raise TransientError(text, retry_after_s=_seconds(answer.get("retry_after_s")))

    def _words(self, finished: Finished, answer: Mapping[str, Any]) -> str:
        """Return what the program says of its failure, on one line, without the secrets that it was given."""
        said = answer.get("error")
        text = said if isinstance(said, str) else finished.errors.decode(errors="replace")
        # The longest first: of one that begins with another the rest would be left.
        for value in sorted((each.get_secret_value() for each in self._secrets.values()), key=len, reverse=True):
            text = text.replace(value, "(secret)") if value else text
        text = one_line(text)
        ended = f"signal {-finished.code}" if finished.code < 0 else f"exit code {finished.code}"
        return f"{text[-MAX_WORDS:]} ({ended})" if text else ended


def _node(node: AddressNode) -> dict[str, Any]:
    return {"id": node.id, "name": node.name, "endpoint_addresses": list(node.endpoint_addresses)}


def _object(output: bytes) -> dict[str, Any]:
    """Return the JSON object that a program wrote; an empty one for anything else."""
    try:
        found = json.loads(output)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(given: object) -> float | None:
    if not isinstance(given, int | float) or isinstance(given, bool) or not given >= 0:
        return None
    return float(min(given, MAX_WAIT_S))
