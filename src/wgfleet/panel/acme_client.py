"""A conversation with a CA that speaks ACME (RFC 8555): a certificate for names that it sees to be ours."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from wgfleet.panel.agents.authority import Identity
from wgfleet.panel.errors import TransientError

if TYPE_CHECKING:
    from acme.challenges import ChallengeResponse
    from acme.client import ClientNetwork, ClientV2
    from acme.messages import AuthorizationResource, ChallengeBody

CALL_S = 30  # for one answer of the CA
MAX_WORDS = 500
HTTP_01, DNS_01 = "http-01", "dns-01"


class Proof(Protocol):
    """How a CA sees that a name is ours. `kind`: `http-01`, at the name's port 80, or `dns-01`, by a TXT record."""

    kind: str

    def prepare(self, names: Sequence[str]) -> None:
        """Raise where it is known, before the CA is asked, that some of the names cannot be shown."""

    def show(self, where: str, text: str) -> None:
        """Have the CA find a text from now on. `where`: the token that it asks with, or the name of the record."""

    def settle(self) -> None:
        """Return when the CA can find all that was shown, as far as can be told."""


class AcmeError(TransientError):
    """The CA did not issue; in its own words where it has some."""


@dataclass(frozen=True, slots=True)
class AccountBinding:
    """What binds an account to the customer that the CA knows (RFC 8555, section 7.3.4). `key`: base64url, a secret."""

    key_id: str
    key: str = field(repr=False)


class RenewalTime(NamedTuple):
    """When a CA would have a certificate replaced, None: it does not say; and when it is to be asked again."""

    wanted_at: float | None
    ask_at: float


@dataclass(frozen=True, slots=True)
class AcmeAccount:
    """Who asks: at which CA (its directory's URL), by which key (PEM, a secret).

    `ca_file`: what the directory's own certificate is checked with; None: the CAs that this machine trusts.
    """

    directory: str
    key: str
    email: str | None = None
    ca_file: Path | None = None
    binding: AccountBinding | None = None


def new_key() -> str:
    """Make a private key (PEM), for an account or a certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def get_certificate(account: AcmeAccount, names: Sequence[str], proof: Proof) -> Identity:
    """Get a certificate with a new key; raise `AcmeError`. Takes seconds, up to some minutes where the CA is slow."""
    from acme import crypto_util  # noqa: PLC0415 - loaded by those who have such a certificate

    proof.prepare(names)
    key = new_key()
    with _told():
        network, server = _conversation(account)
        _sign_on(network, server, account)
        order = server.new_order(crypto_util.make_csr(key.encode(), list(names)))
        answers = [_shown(network, each, proof) for each in order.authorizations if not _is_valid(each)]
        proof.settle()
        for challenge, response in answers:
            server.answer_challenge(challenge, response)
        chain = server.poll_and_finalize(order).fullchain_pem
        expires_at = x509.load_pem_x509_certificate(chain.encode()).not_valid_after_utc.timestamp()
    return Identity(chain, key, expires_at)


def ask_when_to_renew(account: AcmeAccount, chain: str) -> RenewalTime:
    """Ask the CA when a certificate (PEM) should be replaced (RFC 9773): it may revoke some, or spread its work."""
    with _told():
        _, server = _conversation(account)
        wanted_at, ask_at = server.renewal_time(chain.encode())
        return RenewalTime(None if wanted_at is None else wanted_at.timestamp(), ask_at.timestamp())


def _conversation(account: AcmeAccount) -> tuple["ClientNetwork", "ClientV2"]:
    """Begin. Its connections end with the objects."""
    from acme import client  # noqa: PLC0415 - as above
    from josepy.jwa import ES256  # noqa: PLC0415 - as above
    from josepy.jwk import JWKEC  # noqa: PLC0415 - as above

    from wgfleet.panel.acme_network import PatientNetwork  # noqa: PLC0415 - as above

    # `requests` takes a file as well as a bool.
    trusted = cast("bool", str(account.ca_file) if account.ca_file is not None else True)
    key = JWKEC.load(account.key.encode())
    network = PatientNetwork(key, alg=ES256, verify_ssl=trusted, user_agent="wgfleet", timeout=CALL_S)
    return network, client.ClientV2(client.ClientV2.get_directory(account.directory, network), network)


def _sign_on(network: "ClientNetwork", server: "ClientV2", account: AcmeAccount) -> None:
    """Make an account, or go on with the one that this key has."""
    from acme import errors, messages  # noqa: PLC0415 - as above

    if account.binding is None and server.external_account_required():
        raise AcmeError(
            "the CA wants to know its customer: set acme.eab_key_id and acme.eab_hmac_key, which it shows you"
        )
    wanted = messages.NewRegistration.from_data(
        email=account.email, terms_of_service_agreed=True, external_account_binding=_bound(network, server, account)
    )
    try:
        server.new_account(wanted)
    except errors.ConflictError as known:
        network.account = messages.RegistrationResource(uri=known.location, body=messages.Registration())


def _bound(network: "ClientNetwork", server: "ClientV2", account: AcmeAccount) -> dict[str, Any] | None:
    """Return the account's public key, signed with the key of the customer."""
    from acme import messages  # noqa: PLC0415 - as above

    if account.binding is None or network.key is None:
        return None
    key = network.key.public_key()
    return messages.ExternalAccountBinding.from_data(key, account.binding.key_id, account.binding.key, server.directory)


def _is_valid(authorization: "AuthorizationResource") -> bool:
    from acme import messages  # noqa: PLC0415 - as above

    return authorization.body.status == messages.STATUS_VALID  # seen with an earlier order


def _shown(
    network: "ClientNetwork", authorization: "AuthorizationResource", proof: Proof
) -> tuple["ChallengeBody", "ChallengeResponse"]:
    """Show the CA that a name is ours; return what it is to be told when it may look."""
    offered: Sequence[ChallengeBody] = authorization.body.challenges
    found = next((each for each in offered if each.chall.typ == proof.kind), None)
    name = authorization.body.identifier.value
    if found is None:
        way = "at port 80" if proof.kind == HTTP_01 else "by a TXT record"
        raise AcmeError(f"the CA does not ask for {name} {way}, the one way in which this panel is to answer")
    response, text = found.response_and_validation(network.key)
    where = found.chall.encode("token") if proof.kind == HTTP_01 else found.chall.validation_domain_name(name)
    proof.show(where, text)
    return found, response


@contextmanager
def _told() -> Iterator[None]:
    """Turn what the libraries raise into one error with words for people."""
    import josepy  # noqa: PLC0415 - as above
    import requests  # noqa: PLC0415 - as above
    from acme import errors, messages  # noqa: PLC0415 - as above

    try:
        yield
    except errors.ValidationError as error:
        raise AcmeError(_short("; ".join(_reasons(error.failed_authzrs)))) from None
    except messages.Error as error:
        raise AcmeError(_short(f"the CA refused: {error.detail or error.typ}")) from None
    except errors.TimeoutError:
        raise AcmeError("the CA has not decided in time") from None
    except requests.RequestException as error:
        raise AcmeError(_short(f"the CA cannot be reached: {type(error).__name__}: {error}")) from None
    except (errors.Error, josepy.errors.Error, ValueError, LookupError, AttributeError, TypeError) as error:
        raise AcmeError(_short(f"the CA's answer makes no sense: {error}")) from None


def _reasons(failed: Sequence[Any]) -> Iterator[str]:
    for each in failed:
        name = each.body.identifier.value
        said = [challenge.error.detail for challenge in each.body.challenges if challenge.error is not None]
        yield f"{name}: {said[0] if said else 'the CA does not say why'}"


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= MAX_WORDS else f"{words[:MAX_WORDS]} ..."
