"""Admission of requests: whether the agent may do what it is asked. Pure: values in, a refusal or None out."""

from dataclasses import dataclass

from wgfleet.protocol.desired import InterfaceDelta, Push
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Refusal

MOST_NAMED = 5  # peers in a sentence


class RefusedError(Exception):
    """A request was refused; carries the problem to answer with."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class KeptInterface:
    """What the agent keeps under an interface's name; `history` is the one that its generation belongs to."""

    config_id: ConfigId
    generation: Generation
    history: str = ""


@dataclass(frozen=True, slots=True)
class SameKey:
    """A link of another program that has the key of a push: how many peers, and which of them the push does not have.

    `port`: where it listens, `wanted_port`: where the push has it listen; `adopted`: it is ours from now on.
    """

    port: int
    wanted_port: int
    peers: int
    others: tuple[PublicKey, ...]
    adopted: bool


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that a decision on one interface needs.

    `kept`: what the agent keeps there. `foreign`: a link of that name exists that the agent did not make; `same_key`:
    with the key of the push. `past`: newest generation of the asked config that was removed from here.
    """

    name: InterfaceName
    kept: KeptInterface | None
    foreign: bool
    past: Generation | None
    same_key: SameKey | None = None


def config_of(push: Push) -> ConfigId:
    """Return the config that a push belongs to."""
    return push.config_id if isinstance(push, InterfaceDelta) else push.settings.config_id


def check_push(push: Push, situation: Situation) -> Refusal | None:
    """Decide on a push: whole or delta."""
    name, kept = situation.name, situation.kept
    if situation.foreign:
        return foreign(name) if situation.same_key is None else _adoptable(name, situation.same_key)
    if kept is not None and kept.config_id != config_of(push):
        return _other_config(name, kept)
    if kept is not None and push.generation < kept.generation:
        return _older(name, push.generation, kept)
    if kept is None and situation.past is not None and push.generation <= situation.past:
        return _older(name, push.generation, KeptInterface(config_of(push), situation.past))
    return _check_base(push, situation) if isinstance(push, InterfaceDelta) else None


def _check_base(delta: InterfaceDelta, situation: Situation) -> Refusal | None:
    kept = situation.kept
    have = Generation(0) if kept is None else kept.generation
    detail = f"interface {situation.name} is at generation {have}, the delta starts from {delta.base}; push the whole"
    if kept is not None and have == delta.base:
        if kept.history == delta.base_history:
            return None
        detail = f"generation {have} of interface {situation.name} is of another history; push the whole"
    return Refusal(
        title="the delta does not start from what this agent has",
        status=409,
        detail=detail,
        reason="base_mismatch",
        generation=have,
        config_id=delta.config_id,
    )


def check_delete(situation: Situation, config_id: ConfigId | None, generation: Generation | None) -> Refusal | None:
    """Decide on a removal.

    Where the agent keeps nothing there is nothing to remove, whatever link others made of that name. The panel, which
    names the config, is content with that; a person has to know that the link stays.
    """
    name, kept = situation.name, situation.kept
    if situation.foreign and config_id is None:
        return foreign(name)
    if kept is None:
        return None
    if config_id is not None and config_id != kept.config_id:
        return _other_config(name, kept)
    if generation is not None and generation < kept.generation:
        return _older(name, generation, kept)
    return None


def past_after_delete(kept: KeptInterface | None, generation: Generation | None) -> Generation | None:
    """Return the newest generation that a removal makes past; None when it makes none.

    A removal that names its generation is the panel's, and ends that generation too. One that names none is a
    person's: the panel may bring the interface back as it is.
    """
    if generation is not None:
        return generation
    return Generation(kept.generation - 1) if kept is not None else None


def foreign(name: InterfaceName) -> Refusal:
    """Refuse to touch a link that is not ours."""
    return Refusal(
        title="the interface is not this agent's",
        status=409,
        detail=f"link {name} exists on this machine and was not made by wgfleet; rename or remove it by hand",
        reason="foreign_interface",
    )


def _adoptable(name: InterfaceName, found: SameKey) -> Refusal:
    detail = (
        f"link {name} was not made by wgfleet, but has this config's key; to take it over as it runs, with all its "
        f"sessions, say on that machine: wgfleet agent adopt {name}"
    )
    if found.port != found.wanted_port:
        detail = (
            f"link {name} was not made by wgfleet, but has this config's key; it listens at port {found.port} and the "
            f"config at {found.wanted_port}, so its users would lose it: give the config its port"
        )
    elif found.others:
        first = ", ".join(found.others[:MOST_NAMED])
        more = f" and {len(found.others) - MOST_NAMED} more" if len(found.others) > MOST_NAMED else ""
        detail += (
            f" --remove-others. {len(found.others)} of its {found.peers} peers are not in the config, and lose access "
            f"with that: {first}{more}"
        )
    return Refusal(
        title="the interface is not this agent's",
        status=409,
        detail=detail,
        reason="foreign_interface",
    )


def not_found(name: InterfaceName) -> Refusal:
    """Say that there is no such interface here."""
    return Refusal(
        title="no such interface",
        status=404,
        detail=f"this agent keeps no interface {name}; GET /v1/status lists those that it keeps",
        reason="not_found",
    )


def _older(name: InterfaceName, generation: Generation, kept: KeptInterface) -> Refusal:
    return Refusal(
        title="older than what this agent has",
        status=409,
        detail=f"interface {name} is at generation {kept.generation}, newer than {generation}; read it and push again",
        reason="older_generation",
        generation=kept.generation,
        config_id=kept.config_id,
    )


def _other_config(name: InterfaceName, kept: KeptInterface) -> Refusal:
    return Refusal(
        title="the interface belongs to another config",
        status=409,
        detail=f"interface {name} serves config {kept.config_id}; remove it from there first",
        reason="other_config",
        generation=kept.generation,
        config_id=kept.config_id,
    )
