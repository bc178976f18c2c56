"""OpenID Connect: a browser is sent to a provider and comes back with a code (RFC 6749, with PKCE of RFC 7636).

What ties the answer to the browser that began (state, nonce, verifier) is in no table: it is sealed into a text that
the browser keeps, so that strangers who begin and never come back cost nothing.
"""

import base64
import hmac
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from wgfleet.panel import clock
from wgfleet.panel.domain.identities import VouchedPerson
from wgfleet.panel.errors import TooMany, TransientError, Unavailable
from wgfleet.panel.identity import IdentityRefused
from wgfleet.panel.provider_answers import shown_answer
from wgfleet.panel.provider_http import exchange, open_client, words
from wgfleet.panel.store import sealed
from wgfleet.panel.vault import Vault, VaultError
from wgfleet.protocol.reasons import Reason

# No symmetric ones: a client secret is known to more than the provider, and `none` is no signature.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
SKEW_S = 60
BEGUN_S = 600.0  # a person finds a password and a second factor in that time
_KEPT_S = 300.0
_AGAIN_S = 10.0  # how soon keys are fetched again for one that is not among them
_TIMEOUT_S = 10.0
_DISCOVERY = ".well-known/openid-configuration"
_WHAT = "oidc"
_OK = 200
PRESENT = 8  # at a time; each has one of the threads that answer calls, and the others need some as well
_present = threading.BoundedSemaphore(PRESENT)


@dataclass(frozen=True, slots=True)
class OidcOptions:
    """A provider, and what the panel is to it. `name_claim`, `groups_claim`: where names and groups are."""

    issuer: str
    client_id: str
    client_secret: str | None = field(repr=False)
    scopes: Sequence[str] = ("openid", "profile", "email")
    name_claim: str = "preferred_username"
    groups_claim: str = "groups"


@dataclass(frozen=True, slots=True)
class Begun:
    """Where a browser is sent, and what it has to keep until it comes back."""

    url: str
    browser: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Returned:
    """What a browser comes back with: the query of the redirect, and what it has kept."""

    browser: str = field(repr=False)
    state: str
    code: str = field(repr=False)
    issuer: str | None = None


@dataclass(slots=True)
class _Known:
    """What was fetched of a provider, and when."""

    metadata: dict[str, Any]
    at: float
    keys: dict[str, Any] = field(default_factory=dict)
    keys_at: float = 0.0


class OidcClient:
    """Asks providers. What they publish of themselves is kept for some minutes."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def begin(self, vault: Vault, provider_id: str, options: OidcOptions, redirect_uri: str) -> Begun:
        """Return where to send a browser that is to come back to `redirect_uri`."""
        metadata = self._provider(options).metadata
        kept = {
            "provider": provider_id,
            "state": clock.new_token(),
            "nonce": clock.new_token(),
            "verifier": clock.new_token(),
            "redirect_uri": redirect_uri,
            "until": clock.now() + BEGUN_S,
        }
        url = prepare_grant_uri(
            metadata["authorization_endpoint"],
            options.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=list(options.scopes),
            state=kept["state"],
            nonce=kept["nonce"],
            code_challenge=create_s256_code_challenge(kept["verifier"]),
            code_challenge_method="S256",
        )
        return Begun(str(url), sealed.seal_for_browser(vault, _WHAT, json.dumps(kept)))

    def finish(self, kept: dict[str, Any], options: OidcOptions, returned: Returned) -> VouchedPerson:
        """Exchange a code for an identity; raise `IdentityRefused` unless all that it says is as it must be."""
        if returned.issuer is not None and returned.issuer != options.issuer:
            raise IdentityRefused(Reason("the answer is of another provider; sign in again"), "issuer")
        known = self._provider(options)
        body = {
            "grant_type": "authorization_code",
            "code": returned.code,
            "redirect_uri": kept["redirect_uri"],
            "code_verifier": kept["verifier"],
        }
        token = self._token(known.metadata, options, body)
        claims = self._claims(known, options, token, str(kept["nonce"]))
        if options.groups_claim not in claims and "userinfo_endpoint" in known.metadata:
            claims = self._more(known.metadata, token, claims)
        return VouchedPerson(claims["sub"], _name(claims, options), _groups(claims.get(options.groups_claim)))

    def test(self, options: OidcOptions) -> str:
        """Return what a provider says of itself, fetched now; raises `Unavailable` where it cannot be used."""
        with self._lock:
            self._known.pop(options.issuer, None)
        known = self._provider(options)
        keys = self._keys(known, options, fresh=True)
        return Reason(
            "{issuer} answers, with {count} keys, and signs people in at {host}",
            issuer=options.issuer,
            count=len(keys),
            host=urlsplit(known.metadata["authorization_endpoint"]).netloc,
        )

    def _provider(self, options: OidcOptions) -> _Known:
        with self._lock:
            known = self._known.get(options.issuer)
        if known is not None and clock.monotonic() - known.at < _KEPT_S:
            return known
        metadata = _fetched("GET", f"{options.issuer.rstrip('/')}/{_DISCOVERY}", "its description")
        if metadata.get("issuer") != options.issuer:
            raise Unavailable(
                Reason(
                    "the provider calls itself {issuer!r}, and not {wanted!r}; set the issuer as it writes it",
                    issuer=words(str(metadata.get("issuer"))),
                    wanted=options.issuer,
                )
            )
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
            there = name in metadata or name != "userinfo_endpoint"
            if there and not _is_url(metadata.get(name)):
                raise Unavailable(
                    Reason("the provider {wanted} has no {name} that can be used", wanted=options.issuer, name=name)
                )
        fresh = _Known(metadata, clock.monotonic())
        with self._lock:
            self._known[options.issuer] = fresh
        return fresh

    def _keys(self, known: _Known, options: OidcOptions, *, fresh: bool = False) -> list[dict[str, Any]]:
        age = clock.monotonic() - known.keys_at
        if not known.keys or age > _KEPT_S or (fresh and age > _AGAIN_S):
            known.keys = _fetched(
                "GET", known.metadata["jwks_uri"], Reason("the keys of {wanted}", wanted=options.issuer)
            )
            known.keys_at = clock.monotonic()
        keys = known.keys.get("keys")
        if not isinstance(keys, list):
            raise Unavailable(Reason("the provider {wanted} has no keys", wanted=options.issuer))
        return [key for key in keys if isinstance(key, dict) and key.get("use", "sig") == "sig"]

    def _key(self, known: _Known, options: OidcOptions, kid: object) -> dict[str, Any]:
        """Return the key that a token names, also where it is newer than what was fetched."""
        for fresh in (False, True):
            keys = self._keys(known, options, fresh=fresh)
            found = [key for key in keys if key.get("kid") == kid] if kid is not None else keys
            if len(found) == 1:
                return found[0]
        raise IdentityRefused(Reason("the provider signs with a key that it does not publish"), "key")

    def _token(self, metadata: dict[str, Any], options: OidcOptions, body: dict[str, str]) -> dict[str, Any]:
        headers = {}
        methods = metadata.get("token_endpoint_auth_methods_supported")
        methods = methods if methods and isinstance(methods, list) else ["client_secret_basic"]
        if options.client_secret is None:
            body = {**body, "client_id": options.client_id}
        elif "client_secret_basic" in methods:
            pair = f"{quote(options.client_id, safe='')}:{quote(options.client_secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            body = {**body, "client_id": options.client_id, "client_secret": options.client_secret}
        secret = options.client_secret or ""
        return _fetched("POST", metadata["token_endpoint"], "a token", secret, headers=headers, data=body)

    def _claims(self, known: _Known, options: OidcOptions, token: dict[str, Any], nonce: str) -> dict[str, Any]:
        text = token.get("id_token")
        if not isinstance(text, str):
            raise IdentityRefused(Reason("the provider gave no ID token"), "no token")
        header = _header(text)
        if header.get("alg") not in ALGORITHMS:
            raise IdentityRefused(Reason("the provider's token is not signed in a way that counts"), "algorithm")
        key = self._key(known, options, header.get("kid"))
        try:
            decoded = jwt.decode(text, KeySet.import_key_set({"keys": [key]}), algorithms=ALGORITHMS)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                {
                    "iss": {"essential": True, "value": options.issuer},
                    "aud": {"essential": True, "value": options.client_id},
                },
                {"nonce": nonce, "client_id": options.client_id, "access_token": token.get("access_token")},
            )
            claims.validate(now=int(clock.now()), leeway=SKEW_S)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            # The library's own words name the claim, and repeat no token.
            raise IdentityRefused(
                Reason("the provider's token does not count: {error}", error=words(str(error))), "token"
            ) from None
        audience, subject = claims["aud"], claims["sub"]
        if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != options.client_id:
            raise IdentityRefused(Reason("the provider's token is for others too"), "audience")
        if not isinstance(subject, str) or not subject:
            raise IdentityRefused(Reason("the provider's token names nobody"), "subject")
        return dict(claims)

    def _more(self, metadata: dict[str, Any], token: dict[str, Any], claims: dict[str, Any]) -> dict[str, Any]:
        """Add what the provider tells of somebody elsewhere; it must be of the same person."""
        headers = {"Authorization": f"Bearer {token.get('access_token')}"}
        told = _fetched("GET", metadata["userinfo_endpoint"], "what it knows of you", headers=headers)
        if told.get("sub") != claims["sub"]:
            raise IdentityRefused(Reason("the provider tells of somebody else"), "subject")
        return {**told, **claims}


def opened(vault: Vault, returned: Returned) -> dict[str, Any]:
    """Return what a browser has kept, if it is the one that began, a short while ago."""
    try:
        kept: dict[str, Any] = json.loads(sealed.unseal_of_browser(vault, _WHAT, returned.browser))
    except VaultError:
        raise IdentityRefused(Reason("this browser did not begin to sign in; begin again"), "browser") from None
    if not hmac.compare_digest(str(kept["state"]).encode(), returned.state.encode()):
        raise IdentityRefused(Reason("this browser began another sign-in; begin again"), "state")
    if kept["until"] < clock.now():
        raise IdentityRefused(Reason("it took too long; begin again"), "late")
    return kept


@contextmanager
def _room(host: str) -> Iterator[None]:
    """Let few wait for providers at a time: anybody may begin, and each holds one of the threads that answer calls."""
    if not _present.acquire(blocking=False):
        raise TooMany(Reason("too many people wait for {host}; try again soon", host=host), retry_after_s=2.0)
    try:
        yield
    finally:
        _present.release()


def _fetched(method: str, url: str, what: str, secret: str = "", **request: Any) -> dict[str, Any]:
    host = urlsplit(url).netloc
    try:
        with _room(host), open_client(url, _TIMEOUT_S, {"Accept": "application/json"}) as client:
            response, content = exchange(client, host, _TIMEOUT_S, method, url, **request)
    except TransientError as error:
        raise Unavailable(
            Reason("the provider cannot be asked for {what}: {error}", what=what, error=error), retry_after_s=5.0
        ) from None
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if method == "POST" and response.status_code != _OK:
        text = str(answer.get("error")) if isinstance(answer, dict) else f"HTTP {response.status_code}"
        said = shown_answer(text, {"client_secret": secret})
        raise IdentityRefused(Reason("the provider does not take the code: {said}; sign in again", said=said), "code")
    if response.status_code != _OK or not isinstance(answer, dict):
        raise Unavailable(
            Reason(
                "{host} answers HTTP {status} when asked for {what}, and no JSON object",
                host=host,
                status=response.status_code,
                what=what,
            )
        )
    return answer


def _header(token: str) -> dict[str, Any]:
    part = token.split(".", 1)[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        header = None
    return header if isinstance(header, dict) else {}


def _is_url(value: object) -> bool:
    try:
        url = urlsplit(value if isinstance(value, str) else "")
        fits = url.scheme in {"https", "http"} and url.hostname is not None and url.port != 0
    except ValueError:  # no address in brackets, or a port that cannot be
        return False
    return fits


def _name(claims: dict[str, Any], options: OidcOptions) -> str:
    names = (claims.get(options.name_claim), claims.get("email"), claims["sub"])
    return next(name for name in names if isinstance(name, str) and name)


def _groups(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
