"""Types of fields that several groups of settings share, and the base of all groups."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

from wgfleet.protocol.addresses import parse_address, parse_network, parse_port
from wgfleet.protocol.domains import parse_domain

DAY_S = 86400


def _words(value: object) -> object:
    """Let the environment and the command line give a list as comma-separated text."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _address(text: str) -> str:
    return parse_address(text, "address")


def _name_or_address(text: str) -> str:
    try:
        return parse_address(text, "name")
    except ValueError:
        return parse_domain(text, "name")


def _domain(text: str) -> str:
    return parse_domain(text, "domain")


def _file(path: Path) -> Path:
    try:
        if path.is_file():
            return path
    except OSError as error:  # such as a directory above it that may not be entered
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    raise ValueError(f"{path} is no file" if path.exists() else f"there is no file {path}")


def worded(pattern: str, words: str) -> AfterValidator:
    """Return the check of a pattern that says in words what a text has to be."""

    def check(text: str | None) -> str | None:
        if text is not None and re.fullmatch(pattern, text) is None:
            raise ValueError(f"must be {words}")
        return text

    return AfterValidator(check)


_WEB_ADDRESS = re.compile(r"(https?)://(\[[^][]*\]|[^][/?#@:\s]+)(?::([0-9]{1,5}))?((?:/[^/?#\s]+)*)/*", re.IGNORECASE)


def web_address(text: str | None) -> str | None:
    """Return where a panel is reached, with its host as DNS and certificates have it, without a final slash."""
    if text is None:
        return None
    found = _WEB_ADDRESS.fullmatch(text.strip())
    if found is None:
        raise ValueError("must be https://HOST or https://HOST:PORT, with a path if it has one")
    scheme, host, port, path = found.groups()
    host = f"[{parse_address(host[1:-1], 'the host')}]" if host.startswith("[") else _name_or_address(host)
    after = "" if port is None else f":{parse_port(int(port), 'the port')}"
    return f"{scheme.lower()}://{host}{after}{path}"


def _server(text: str) -> str:
    try:
        return parse_network(text, "server") if "/" in text else parse_address(text, "server")
    except ValueError:
        return parse_domain(text, "server")


ListOf = (NoDecode, BeforeValidator(_words))
Addresses = Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], *ListOf]
Names = Annotated[tuple[Annotated[str, AfterValidator(_name_or_address)], ...], *ListOf]
Domains = Annotated[tuple[Annotated[str, AfterValidator(_domain)], ...], *ListOf]
Servers = Annotated[tuple[Annotated[str, AfterValidator(_server)], ...], *ListOf]
File = Annotated[Path, AfterValidator(_file)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Group(BaseModel):
    """A table of the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)
