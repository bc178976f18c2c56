"""Questions to all name servers of a zone: a change at a provider takes time to reach each of them."""

import contextlib
import time
from collections.abc import Collection

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.resolver

from wgfleet.panel import clock

ANSWER_S = 3.0
EVERY_S = 2.0
PORT = 53
MOST_ALIASES = 8  # one after another; more, or a ring of them, no CA follows


class NameServers:
    """The name servers of zones, as a resolver finds them; None: the one that this machine uses."""

    def __init__(self, resolver: dns.resolver.Resolver | None = None, port: int = PORT) -> None:
        self._resolver = resolver
        self._port = port

    def wait_for_texts(self, texts: Collection[tuple[str, str]], within_s: float) -> bool:
        """Wait until all of them show all TXT records (name, text); False: they do not in time, or cannot be asked."""
        ends = clock.monotonic() + within_s
        missing = list(texts)
        while True:
            missing = [each for each in missing if not self.show(*each)]
            left_s = ends - clock.monotonic()
            if not missing or left_s <= 0:
                return not missing
            time.sleep(min(EVERY_S, left_s))

    def end_of_alias(self, name: str) -> str:
        """Return the name that one stands for, by one alias (CNAME) or several; itself where it is none.

        What cannot be looked up is taken as it is: a machine inside may not see names as a CA does.
        """
        found = name
        with contextlib.suppress(dns.exception.DNSException, ValueError):
            resolver = self._resolver or dns.resolver.get_default_resolver()
            at = dns.name.from_text(name)
            for _ in range(MOST_ALIASES):
                (next_one,) = resolver.resolve(at, dns.rdatatype.CNAME, lifetime=ANSWER_S)
                at = next_one.target
                found = at.to_text()
        return found.removesuffix(".").lower()

    def show(self, name: str, text: str) -> bool:
        """Tell whether each server of a name's zone has a TXT record at the name now."""
        wanted = dns.name.from_text(name)
        try:
            resolver = self._resolver or dns.resolver.get_default_resolver()
            zone = dns.resolver.zone_for_name(wanted, resolver=resolver, lifetime=ANSWER_S)
            hosts = [each.target for each in resolver.resolve(zone, "NS", lifetime=ANSWER_S)]
            return all(self._shown_by(resolver, host, wanted, text) for host in hosts)
        except dns.exception.DNSException:
            return False

    def _shown_by(self, resolver: dns.resolver.Resolver, host: dns.name.Name, name: dns.name.Name, text: str) -> bool:
        """Ask a server at its addresses in turn, until one answers."""
        query = dns.message.make_query(name, dns.rdatatype.TXT)
        query.flags &= ~dns.flags.RD
        for address in resolver.resolve_name(host, lifetime=ANSWER_S).addresses():
            try:
                answer, _ = dns.query.udp_with_fallback(query, address, ANSWER_S, self._port)
            except (OSError, dns.exception.DNSException):
                continue
            found = answer.get_rrset(answer.answer, name, query.question[0].rdclass, dns.rdatatype.TXT)
            return found is not None and any(b"".join(each.strings) == text.encode() for each in found)
        return False
