"""Client of dns-lexicon: sessions with one of its providers, with a time limit, and its failures as the panel's errors.

lexicon's providers are used, but not its client, which guesses the zone from the public suffix list that it
downloads. lexicon is large, so it is imported only when it is needed.
"""

import argparse
import contextlib
import contextvars
import ipaddress
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from wgfleet.panel.dns.providers import Blocked
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.provider_answers import shown_answer
from wgfleet.protocol.reasons import Reason

CALL_S = 60.0  # lexicon's providers have no time limit of their own
_REFUSED, _SLOW_DOWN, _SERVER_ERROR = (401, 403), 429, 500
# Bugs in lexicon: another attempt would fail in the same way.
_BUGS = (TypeError, AttributeError, NameError, LookupError, NotImplementedError)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as a service lists it: `content` in canonical form, `raw` in the service's, `ttl` in s."""

    id: str
    type: str
    content: str
    raw: str
    ttl: int


def settings_of(provider: str) -> set[str]:
    """Return the settings of one of lexicon's providers; raise `ValueError` if there is none of that name."""
    from lexicon._private import discovery  # noqa: PLC0415 - see the module

    available = discovery.find_providers()
    if provider not in available or provider == "auto":
        raise ValueError(
            Reason(
                "dns-lexicon has no provider {provider!r}; it has {known}",
                provider=provider,
                known=", ".join(sorted(available)),
            )
        )
    if not available[provider]:
        raise ValueError(
            Reason("{provider} needs more Python packages: pip install 'dns-lexicon[{provider}]'", provider=provider)
        )
    parser = argparse.ArgumentParser(add_help=False)
    discovery.load_provider_module(provider).Provider.configure_parser(parser)
    return set(vars(parser.parse_args([])))


class Service:
    """One account at one of lexicon's providers, for one zone."""

    def __init__(self, provider: str, zone: str, settings: Mapping[str, str]) -> None:
        self._provider = provider
        self._zone = zone
        self._settings = dict(settings)
        self._lock = threading.Lock()
        self._unanswered: threading.Thread | None = None

    def __str__(self) -> str:
        return f"{self._provider} (lexicon)"

    def call(self, work: Callable[["Session"], T]) -> T:
        """Do some work in a session of its own, within `CALL_S`."""
        with self._lock:
            if self._unanswered is not None and self._unanswered.is_alive():
                raise TransientError(
                    Reason("{name}: an earlier call is still without an answer", name=self), retry_after_s=CALL_S
                )
            results: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()
            context = contextvars.copy_context()  # what the caller may not connect to, this thread may not either
            thread = threading.Thread(target=context.run, args=(self._work, work, results), daemon=True, name="lexicon")
            thread.start()
            try:
                result, failure = results.get(timeout=CALL_S)
            except queue.Empty:
                self._unanswered = thread
                result, failure = (
                    None,
                    TransientError(Reason("{name} did not answer within {call_s:.0f} s", name=self, call_s=CALL_S)),
                )
        if failure is not None:
            raise failure
        return result  # type: ignore[return-value]  # set if there is no failure

    def _work(self, work: Callable[["Session"], T], results: "queue.SimpleQueue[Any]") -> None:
        result: T | None = None
        failure: Exception | None = None
        try:
            with contextlib.closing(Session(self._open, self._zone)) as session:
                result = work(session)
        except (PermanentError, TransientError) as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - a hundred providers may raise anything
            failure = self._translated(error)
        # Outside `except`, so that the error does not reference the other one, which may hold a credential.
        results.put((result, failure))

    def _open(self, ttl: int) -> Any:
        from lexicon._private import discovery  # noqa: PLC0415 - see the module
        from lexicon.config import ConfigResolver  # noqa: PLC0415 - see the module

        settings = {"provider_name": self._provider, "domain": self._zone, "ttl": ttl, self._provider: self._settings}
        provider = discovery.load_provider_module(self._provider).Provider(ConfigResolver().with_dict(settings))  # type: ignore[no-untyped-call]
        provider.authenticate()
        return provider

    def _translated(self, error: Exception) -> PermanentError | TransientError:
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", 0)
        body = str(getattr(response, "text", "") or "").strip()
        words = f"{str(error) or type(error).__name__}{f': {body}' if body else ''}"
        said = f"{self}: {shown_answer(words, self._settings)}"
        if type(error).__name__ == "AuthenticationError" or status in _REFUSED:
            return PermanentError(
                Reason("{said}; check the settings, and that they are for zone {zone}", said=said, zone=self._zone)
            )
        if status == _SLOW_DOWN:
            return Blocked(said, retry_after_s=_seconds(response))
        if status and status < _SERVER_ERROR:
            return PermanentError(said)
        if isinstance(error, _BUGS):
            return PermanentError(
                Reason(
                    "{said} ({name}): dns-lexicon cannot do this with {provider}",
                    said=said,
                    name=type(error).__name__,
                    provider=self._provider,
                )
            )
        return TransientError(said)


class Session:
    """A session with a service. Each TTL needs a lexicon object of its own, and only one at a time reads correctly."""

    def __init__(self, open_: Callable[[int], Any], zone: str) -> None:
        self.calls = 0
        self._open = open_
        self._zone = zone
        self._ttl: int | None = None
        self._provider: Any = None

    def close(self) -> None:
        """End the session with the service."""
        if self._provider is not None:
            self._provider.cleanup()
            self._provider = None

    def find(self, name: str, kind: str) -> list[Entry]:
        """List the records of a type at exactly a name."""
        provider = self._using(self._ttl)
        return [
            Entry(str(found.get("id")), kind, _canonical(kind, raw), raw, int(found.get("ttl") or 0))
            for found in provider.list_records(kind, name) or ()
            if found["type"] == kind and self._full(found["name"]) == name
            for raw in [str(found["content"])]
        ]

    def create(self, name: str, kind: str, content: str, ttl: int) -> None:
        """Create a record."""
        self._done(self._using(ttl).create_record(kind, name, content), f"create {kind} {content} at {name}")

    def update(self, name: str, entry: Entry, ttl: int) -> None:
        """Change the TTL of a record."""
        provider = self._using(ttl)
        provider.list_records(entry.type, name)  # some resolve only ids that they have listed
        self._done(provider.update_record(entry.id, entry.type, name, entry.raw), f"change {entry.type} at {name}")

    def delete(self, name: str, entry: Entry) -> None:
        """Delete one record by its content: not every id stands for a single record."""
        provider = self._using(self._ttl)
        self._done(provider.delete_record(None, entry.type, name, entry.raw), f"delete {entry.type} at {name}")

    def _using(self, ttl: int | None) -> Any:
        if self._provider is None or ttl != self._ttl:
            self.close()
            self._provider, self._ttl = self._open(ttl or 0), ttl
            self.calls += 1
        self.calls += 1
        return self._provider

    def _done(self, result: object, what: str) -> None:
        if result is False:
            raise TransientError(Reason("lexicon could not {what}, and gives no reason", what=what))

    def _full(self, name: str) -> str:
        name = name.rstrip(".").lower()
        if name in {"", "@"}:
            return self._zone
        return name if name == self._zone or name.endswith(f".{self._zone}") else f"{name}.{self._zone}"


def _canonical(kind: str, raw: str) -> str:
    if kind == "TXT":
        return raw.strip('"')
    if kind == "CNAME":
        return raw.rstrip(".").lower()
    return str(ipaddress.ip_address(raw))


def _seconds(response: Any) -> float | None:
    text = str(getattr(response, "headers", {}).get("Retry-After", ""))
    return float(text) if text.isdecimal() else None
