"""The panel's address and the key, from the environment or from `~/.config/wgfleet/cli.toml`."""

import hashlib
import json
import os
import ssl
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wgfleet.doors.panel_url import without_name

DEFAULT_URL = "http://127.0.0.1:8080"
FILE_MODE = 0o600
_END = "-----END CERTIFICATE-----"


class ConnectionSettingsError(Exception):
    """The panel's address or the key is missing or unusable; the text says what to do."""


@dataclass(frozen=True, slots=True)
class PanelAccess:
    """A panel and a key; without one, only what strangers may ask.

    `ca_file` None: the certificate authorities of this machine.
    `allow_plain_http`: the key may be sent to other machines without TLS.
    """

    url: str
    api_key: str | None
    ca_file: Path | None
    allow_plain_http: bool = False


def path(env: Mapping[str, str]) -> Path:
    """Return where the file is, whether or not it exists (XDG base directories)."""
    base = env.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "wgfleet" / "cli.toml"


def load(env: Mapping[str, str], *, needs_key: bool = True) -> PanelAccess:
    """Read environment and file."""
    stored = _read(path(env))
    key = (env.get("WGFLEET_API_KEY") or stored.get("api_key") or "").strip()  # a file of Windows leaves its \r
    if not key and needs_key:
        raise ConnectionSettingsError("no API key: run `wgfleet login`, or set WGFLEET_API_KEY")
    ca_file = env.get("WGFLEET_CA_FILE") or stored.get("ca_file")
    url = env.get("WGFLEET_URL") or stored.get("url") or DEFAULT_URL
    if url != without_name(url):
        raise ConnectionSettingsError(
            "the panel's address (WGFLEET_URL, or `wgfleet login`) has a name or a password before its host: leave "
            "them out, and sign in with `wgfleet login ADDRESS --user NAME`"
        )
    plain = env.get("WGFLEET_ALLOW_PLAIN_HTTP") or stored.get("allow_plain_http") or ""
    return PanelAccess(
        url.rstrip("/"), key or None, Path(ca_file) if ca_file else None, plain.lower() in {"1", "true", "yes"}
    )


def save(connection: PanelAccess, env: Mapping[str, str]) -> Path:
    """Write the file, for its owner only, in one step; return its path."""
    values = {"url": connection.url, "api_key": connection.api_key or ""}
    if connection.ca_file is not None:
        values["ca_file"] = str(connection.ca_file.absolute())
    if connection.allow_plain_http:
        values["allow_plain_http"] = "true"
    return _write(path(env), _as_toml(values))


def forget_key(env: Mapping[str, str]) -> None:
    """Take the key out of the file, if there is one; address and CA stay."""
    stored = _read(path(env))
    if stored.pop("api_key", None) is not None:
        _write(path(env), _as_toml(stored))


def save_ca(certificate: str, env: Mapping[str, str]) -> Path:
    """Write a panel's CA certificate (PEM) beside the file; return its path."""
    return _write(path(env).with_name("ca.pem"), certificate)


def add_ca(certificate: str, connection: PanelAccess, env: Mapping[str, str]) -> bool:
    """Believe another CA (PEM) of the panel as well, if a login saved the one that is believed now."""
    saved = path(env).with_name("ca.pem")
    if connection.ca_file is None or connection.ca_file.absolute() != saved.absolute():
        return False
    known = saved.read_text(encoding="ascii")
    if certificate not in known:
        _write(saved, f"{known.rstrip()}\n{certificate}")
    return True


def alone(fingerprint: str, connection: PanelAccess, env: Mapping[str, str]) -> str | None:
    """Return the CA (PEM) with this fingerprint where a login's file has others beside it, which `add_ca` added to."""
    saved = path(env).with_name("ca.pem")
    if connection.ca_file is None or connection.ca_file.absolute() != saved.absolute():
        return None
    known = [f"{each}{_END}\n".lstrip() for each in saved.read_text(encoding="ascii").split(_END)[:-1]]
    return next((each for each in known if _fingerprint(each) == fingerprint), None) if len(known) > 1 else None


def _as_toml(values: Mapping[str, str]) -> str:
    # A JSON string is a TOML string too.
    return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items())


def _write(target: Path, text: str) -> Path:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = target.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(target)
    return target


def _fingerprint(certificate: str) -> str:
    return "sha256:" + hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.strip())).hexdigest()


def _read(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise ConnectionSettingsError(f"{file} can be read by others; run: chmod 600 {file}")
    try:
        return {name: str(value) for name, value in tomllib.loads(file.read_text("utf-8")).items()}
    except (OSError, ValueError, RecursionError) as error:
        raise ConnectionSettingsError(f"{file} cannot be read ({error}); run `wgfleet login` again") from None
