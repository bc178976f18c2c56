"""The client of the panel's API. An error is one line and an exit code.

Exit codes: 1 refused or failed, 2 usage, 3 the panel is unreachable, 4 not found.
"""

import contextlib
import math
import os
import re
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from itertools import pairwise
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx
import typer

from wgfleet.agent.enrollment.ca import ways_out
from wgfleet.cli import connection
from wgfleet.cli.connection import ConnectionSettingsError, PanelAccess
from wgfleet.cli.hints import sentence
from wgfleet.cli.output import say
from wgfleet.cli.plain_text import plain
from wgfleet.cli.tree import CommandRefused, as_option, complain
from wgfleet.doors.tries import CONNECT_S, Tries, may_be_done
from wgfleet.protocol.addresses import is_loopback
from wgfleet.protocol.quotes import quoted

FAILED, USAGE, UNREACHABLE, ABSENT = 1, 2, 3, 4
TIMEOUT_S = 60.0
TABLE_S = 600.0  # for thousands of changes, one after another
GLANCE_S = 1.5  # for what nobody waits for
PAGE = 1000
_KEY = re.compile(r"[!-~]+")

Document = dict[str, Any]


class CallFailed(CommandRefused):
    """A call failed; the text and the exit code are for the user."""

    def __init__(self, detail: str, exit_code: int = FAILED, field: str = "", status: int = 0) -> None:
        """Take what a person reads; and of an answer of the API its status, and the field that was refused if any."""
        super().__init__(plain(detail))
        self.exit_code, self.field, self.status = exit_code, field, status


class Client:
    """A panel, with a key."""

    def __init__(self, to: PanelAccess, *, sends_secret: bool = False) -> None:
        """Refuse plain http to another machine where a key, or a body with a secret, would be sent."""
        if to.ca_file is not None and to.ca_file.exists() and not to.ca_file.is_file():
            raise CallFailed(f"{to.ca_file} is no regular file, so none of CA certificates", USAGE)
        secure = to.url.lower().startswith("https://")
        try:
            # To read what the system trusts takes longer than the call; plain http asks for none of it.
            trusted = secure or to.ca_file
            verify = (
                ssl.create_default_context(cafile=to.ca_file) if trusted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            )
        except (OSError, ssl.SSLError) as error:
            raise CallFailed(f"{to.ca_file} is not a file of CA certificates ({error})", USAGE) from None
        self._url = to.url
        self._ca_file = to.ca_file
        if to.api_key and not _KEY.fullmatch(to.api_key):
            raise CallFailed(
                "the API key has a character that no key has; copy it again (`wgfleet login`, WGFLEET_API_KEY)", USAGE
            )
        local = is_local(to.url)
        plain = to.url.lower().startswith("http://")
        if plain and (to.api_key or sends_secret) and not local and not to.allow_plain_http:
            raise CallFailed(
                f"{to.url} is plain http, which would show the API key or password to everybody on the way; give an "
                "https address (or WGFLEET_ALLOW_PLAIN_HTTP=1, where the way is safe)",
                USAGE,
            )
        try:
            self._http = httpx.Client(
                base_url=to.url,
                headers={"Authorization": f"Bearer {to.api_key}"} if to.api_key else {},
                verify=verify,
                timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_S),
                trust_env=secure and not local,  # a proxy on the way would see the key, unless it only carries TLS
            )
        except (httpx.InvalidURL, ValueError):
            raise CallFailed(
                f"{quoted(to.url)} is not an address such as https://panel.example.com:8443", USAGE
            ) from None

        self._tries = Tries(self._http, lambda words: say(words, err=True))

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def call(self, method: str, path: str, body: Document | None = None, **query: Any) -> Any:
        """Call the API and return its JSON; None for no content. Query values that are None are left out."""
        answer = self._call(method, path, body, query)
        return answer.json() if answer.content else None

    def change(self, path: str, body: Document, **query: Any) -> Any:
        """Change a thing and return its JSON; end the command where nothing was given to change."""
        if not body:
            raise typer.BadParameter("nothing to change: give an option; --help lists them")
        return self.call("PATCH", path, body, **query)

    def get(self, path: str, **query: Any) -> Any:
        """Read JSON."""
        return self.call("GET", path, None, **query)

    def readiness(self) -> Any:
        """Read how the panel is doing, also where it says that it is not."""
        answer = self._send("GET", "/readyz", None, {})
        with contextlib.suppress(ValueError):
            found = answer.json()
            if isinstance(found, dict) and found.get("status") in {"ok", "degraded", "unavailable"}:
                return found
        raise _refused(answer)

    def text(self, path: str, **query: Any) -> str:
        """Read text."""
        return self._call("GET", path, None, query).text

    def table(self, path: str, **query: Any) -> Iterator[bytes]:
        """Yield a whole list as one table of CSV, page by page."""
        after: str | None = None
        while True:
            page = self._call("GET", path, None, query | {"format": "csv", "limit": PAGE, "after": after})
            yield page.content if after is None else page.content.partition(b"\n")[2]  # the line of columns once
            after = page.headers.get("wgfleet-next")
            if after is None:
                return

    def content(self, path: str, **query: Any) -> bytes:
        """Read binary content."""
        return self._call("GET", path, None, query).content

    def parts(self, path: str, **query: Any) -> Iterator[bytes]:
        """Yield binary content as it comes, of any size; raise where it breaks off."""
        with contextlib.closing(self._send("GET", path, None, query, stream=True)) as answer:
            try:
                if not answer.is_success:
                    answer.read()
                    self._check(answer)
                yield from answer.iter_bytes()
            except httpx.HTTPError as error:
                raise CallFailed(
                    f"the answer of the panel at {self._url} broke off: {error}; try it again", UNREACHABLE
                ) from None

    def send_table(self, path: str, table: bytes, **query: Any) -> Any:
        """Send a CSV file, and return the JSON of the answer."""
        return self._call("POST", path, table, query).json()

    def all(self, path: str, **query: Any) -> list[Document]:
        """Read a whole list, page by page."""
        found: list[Document] = []
        after: str | None = None
        while True:
            page = self.get(path, limit=PAGE, after=after, **query)
            found += page["items"]
            after = page.get("next")  # lists that are never long have no pages
            if after is None:
                return found

    def glance(self, path: str, **query: Any) -> list[Document]:
        """Read the first page of a list soon, or not at all."""
        params = {"limit": PAGE, **{name: value for name, value in query.items() if value is not None}}
        answer = self._http.get(path, params=params, timeout=GLANCE_S).raise_for_status()
        return list(answer.json()["items"])

    def events(self, *kinds: str) -> Iterator[None]:
        """Yield once when connected, then on each event of these kinds (and at least every 15 s)."""
        try:
            with contextlib.closing(self._tries.stream("GET", "/api/events", params={"kind": list(kinds)})) as answer:
                if answer.is_error:
                    answer.read()
                    raise _refused(answer)
                yield
                for line in answer.iter_lines():
                    if line.startswith(("data:", ":")):
                        yield
        except httpx.HTTPError as error:
            raise CallFailed(f"the panel at {self._url} no longer answers: {error}", UNREACHABLE) from None

    def _call(self, method: str, path: str, body: Document | bytes | None, query: Document) -> httpx.Response:
        answer = self._send(method, path, body, query)
        self._check(answer)
        return answer

    def _check(self, answer: httpx.Response) -> None:
        """Raise what an answer says that is none to what was asked."""
        if answer.is_redirect:
            raise CallFailed(
                f"{self._url} sends callers on to {answer.headers.get('location')}; give the panel's own address", USAGE
            )
        if answer.is_error:
            raise _refused(answer)

    def _send(
        self, method: str, path: str, body: Document | bytes | None, query: Document, *, stream: bool = False
    ) -> httpx.Response:
        steps = path.partition("?")[0].split("/")
        for kind, step in pairwise(steps):
            if step in {"", ".", ".."} and kind:
                raise CallFailed(f"{kind}: an id or name is empty, or consists of dots; give a valid one", USAGE)
            if "%2F" in step:
                raise CallFailed(f"{kind}: {quoted(unquote(step))} has a slash, which no id or name here has", USAGE)
        params = {name: value for name, value in query.items() if value is not None}
        sent: Document = {"json": body}
        if isinstance(body, bytes):
            sent = {"content": body, "headers": {"Content-Type": "text/csv"}, "timeout": TABLE_S}
        try:
            made = self._tries.stream if stream else self._tries.request
            return made(method, path, **sent, params=params)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error).rstrip(".") or type(error).__name__
            if may_be_done(method, error):
                raise CallFailed(
                    f"the panel at {self._url} was sent this and did not answer: {reason}; it may have done it: look "
                    "before you repeat it",
                    UNREACHABLE,
                ) from None
            way_out = ways_out(self._url, reason, pinned=self._ca_file is not None)
            if way_out is None:
                way_out = "check the address (`wgfleet login`, WGFLEET_URL), which begins with http:// or https://"
            raise CallFailed(f"the panel at {self._url} cannot be reached: {reason}; {way_out}", UNREACHABLE) from None
        except UnicodeEncodeError:
            raise CallFailed("an argument is not UTF-8", USAGE) from None
        except ValueError:
            raise CallFailed(f"{_no_number(body)}must be a number, and not without end", USAGE) from None


def _no_number(body: Document | bytes | None) -> str:
    """Return, before the complaint, the option whose value is a number that JSON does not have."""
    values = body.items() if isinstance(body, dict) else ()
    found = (name for name, value in values if isinstance(value, float) and not math.isfinite(value))
    return "".join(f"{as_option(name)}: " for name in found)


def _refused(answer: httpx.Response) -> CallFailed:
    field = ""
    try:
        problem = answer.json()
        detail = sentence(problem)
        field = str(problem["errors"][0]["field"]) if problem.get("errors") else ""
        option = as_option(field)
        if not detail.startswith(field):
            detail = f"{option}: {detail}"
        elif field and option != field:
            detail = option + detail.removeprefix(field)
    except (ValueError, LookupError, TypeError):
        detail = f"{answer.status_code} {answer.reason_phrase}"
    return CallFailed(
        detail, ABSENT if answer.status_code == HTTPStatus.NOT_FOUND else FAILED, field, answer.status_code
    )


def is_local(url: str) -> bool:
    """Say whether an address is of this machine's loopback."""
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:  # such as half a bracket: the client says so
        return False


def given(**values: Any) -> Document:
    """Return a body of the options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def items(values: list[str] | None) -> list[str] | None:
    """Return a list to be sent; an empty text alone stands for the empty list, which no option can say."""
    return None if values is None else [value for value in values if value]


def parted(values: Iterable[str]) -> list[str]:
    """Return what commas or spaces part in the values of an option or an argument."""
    return [each for some in values for each in some.replace(",", " ").split()]


def part(text: str) -> str:
    """Quote an id or name for a path; bytes that are no UTF-8 go as they are, and name nothing."""
    return quote(text, safe="", errors="surrogateescape")


@contextmanager
def panel(chosen: PanelAccess | None = None, *, needs_key: bool = True, sends_secret: bool = False) -> Iterator[Client]:
    """Open the given panel, or the one of environment and file; report a failure in one line."""
    try:
        client = Client(chosen or connection.load(os.environ, needs_key=needs_key), sends_secret=sends_secret)
        try:
            yield client
        finally:
            client.close()
    except ConnectionSettingsError as error:
        complain(error)
        raise typer.Exit(USAGE) from None
    except CallFailed as error:
        complain(error)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        if error.filename is None:  # no file of the caller's, such as a reader of our output that went away
            raise
        complain(f"{error.filename}: {error.strerror}")
        raise typer.Exit(FAILED) from None
