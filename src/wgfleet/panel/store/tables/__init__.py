"""Tables: the one definition of what is kept.

Times are s since the epoch (float). Columns ending in `_sealed` are encrypted by the vault
(`wgfleet.panel.store.sealed` lists them). JSON columns hold small
lists or objects that are never searched. `generation` columns: see `wgfleet.protocol.desired`.
"""

from wgfleet.panel.store.tables.access import (
    ApiKey,
    AuditEntry,
    AuthorityRotation,
    CertificateAuthority,
    Incarnation,
    IssuedCertificate,
    PasswordLink,
    RenderedSetting,
    SignIn,
    User,
)
from wgfleet.panel.store.tables.base import Base
from wgfleet.panel.store.tables.configs import (
    Address,
    Assignment,
    Config,
    ConfigHistory,
    EntrustedNode,
    FreeOffset,
    HealthEvent,
    HealthFreeze,
    Pool,
    ProbeKeyRotation,
    WitnessKey,
)
from wgfleet.panel.store.tables.endpoints import DnsAccount, DnsSync, EndpointGroup, FloatingAddress, HostName
from wgfleet.panel.store.tables.jobs import LimitJob, PeerAllowance
from wgfleet.panel.store.tables.nodes import Cleanup, DepartedNode, JoinToken, Node, NodeGroup, NodeLoad
from wgfleet.panel.store.tables.operations import Backup, Move, Operation, OwedRecall
from wgfleet.panel.store.tables.peers import (
    Peer,
    PeerBatch,
    PeerChange,
    PeerNodes,
    PeerSession,
    PeerTag,
    PeerTombstone,
    PeerVisit,
    ShareLink,
    Tag,
)
from wgfleet.panel.store.tables.relays import RelayedClient
from wgfleet.panel.store.tables.rule_sets import RuleSetRow
from wgfleet.panel.store.tables.sign_in_providers import Passkey, SignInProvider
from wgfleet.panel.store.tables.usage import (
    FormerKey,
    NodeTraffic,
    SummedDay,
    SummedHour,
    UsageCounter,
    UsageDay,
    UsageHour,
    UsageSource,
    UsageTotal,
)
from wgfleet.panel.store.tables.web_certificates import AcmeAnswer, AcmeText, WebCertificate

__all__ = [
    "AcmeAnswer",
    "AcmeText",
    "Address",
    "ApiKey",
    "Assignment",
    "AuditEntry",
    "AuthorityRotation",
    "Backup",
    "Base",
    "CertificateAuthority",
    "Cleanup",
    "Config",
    "ConfigHistory",
    "DepartedNode",
    "DnsAccount",
    "DnsSync",
    "EndpointGroup",
    "EntrustedNode",
    "FloatingAddress",
    "FormerKey",
    "FreeOffset",
    "HealthEvent",
    "HealthFreeze",
    "HostName",
    "Incarnation",
    "IssuedCertificate",
    "JoinToken",
    "LimitJob",
    "Move",
    "Node",
    "NodeGroup",
    "NodeLoad",
    "NodeTraffic",
    "Operation",
    "OwedRecall",
    "Passkey",
    "PasswordLink",
    "Peer",
    "PeerAllowance",
    "PeerBatch",
    "PeerChange",
    "PeerNodes",
    "PeerSession",
    "PeerTag",
    "PeerTombstone",
    "PeerVisit",
    "Pool",
    "ProbeKeyRotation",
    "RelayedClient",
    "RenderedSetting",
    "RuleSetRow",
    "ShareLink",
    "SignIn",
    "SignInProvider",
    "SummedDay",
    "SummedHour",
    "Tag",
    "UsageCounter",
    "UsageDay",
    "UsageHour",
    "UsageSource",
    "UsageTotal",
    "User",
    "WebCertificate",
    "WitnessKey",
]
