"""The base of all tables: names of constraints, types of columns."""

from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import JSON, Dialect, LargeBinary, MetaData, String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase

from wgfleet.panel.domain.authorities import AuthorityStep, Trust
from wgfleet.panel.domain.certificates import CertificateKind
from wgfleet.panel.domain.dns.listing import DnsMode, OnDrift
from wgfleet.panel.domain.dns.states import ErrorClass, SyncState
from wgfleet.panel.domain.first_look import FirstLook
from wgfleet.panel.domain.forwarding import ForwardingFound
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.identities import ProviderKind
from wgfleet.panel.domain.moves import MoveState
from wgfleet.panel.domain.operations import OperationKind, OperationState
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.domain.probe_keys import RotationStep
from wgfleet.protocol.reasons import Reason, restored, with_kept, without_mark

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


_Enum = TypeVar("_Enum", bound=StrEnum)


class EnumText(TypeDecorator[_Enum], Generic[_Enum]):
    """A member of an enum, kept as its text.

    A text that is none of its members, from a later version of the panel, is read as an instance that equals none of
    them: one such row must not keep all others from being read.
    """

    impl = String
    cache_ok = True

    def __init__(self, kind: type[_Enum]) -> None:
        super().__init__()
        self.kind = kind
        self._known: dict[str, _Enum] = {each.value: each for each in kind}

    def process_bind_param(self, value: _Enum | None, _dialect: Dialect) -> str | None:
        if isinstance(value, self.kind):
            return value.value
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: str | None, _dialect: Dialect) -> _Enum | None:
        if value is None:
            return None
        known = self._known.get(value)
        if known is not None:  # asked of the class it takes ten times as long, and tables have several in each row
            return known
        unknown = str.__new__(self.kind, value)
        unknown._name_ = unknown._value_ = value
        return unknown


class SaidText(TypeDecorator[str]):
    """A sentence in English, kept with the template and the values that it was made of, if it is a `Reason`."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        if value is None:
            return None
        return value.kept() if isinstance(value, Reason) else without_mark(value)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> str | None:
        return None if value is None else Reason.restored(value)


class SaidJson(TypeDecorator[dict[str, Any]]):
    """An object of JSON in which sentences are kept as in `SaidText`."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, _dialect: Dialect) -> Any:
        return with_kept(value)

    def process_result_value(self, value: Any, _dialect: Dialect) -> Any:
        return restored(value)


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - read once by the declarative machinery
        list[str]: JSON,
        list[float]: JSON,
        list[ForwardingFound]: JSON,
        dict[str, Any]: JSON,
        dict[str, str]: JSON,
        bytes: LargeBinary,
        AuthorityStep: EnumText(AuthorityStep),
        CertificateKind: EnumText(CertificateKind),
        DnsMode: EnumText(DnsMode),
        ProviderKind: EnumText(ProviderKind),
        ErrorClass: EnumText(ErrorClass),
        FirstLook: EnumText(FirstLook),
        Health: EnumText(Health),
        MoveState: EnumText(MoveState),
        OperationKind: EnumText(OperationKind),
        OperationState: EnumText(OperationState),
        OnDrift: EnumText(OnDrift),
        Phase: EnumText(Phase),
        RotationStep: EnumText(RotationStep),
        SyncState: EnumText(SyncState),
        Trust: EnumText(Trust),
    }
