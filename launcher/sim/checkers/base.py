"""Whether what happened in a world was right: checkers by name, each a function from a finished world to what it objects to.

A checker derives its claim from the store's log, the cloud's truth and the journal, not from the code that it checks. It is
believed only once it has been seen to fire: each has a test that makes it, and a mutant that it kills.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from launcher.sim.checkers import agreement, idleness, lineage, liveness, machines, money, order, outcomes, rivalry, trust, waste
from launcher.sim.disaster import FaultyWorld

Checker = Callable[[FaultyWorld], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Violation:
    checker: str
    seed: int
    what: str


CHECKERS: dict[str, Checker] = {
    "lineage": lineage.lineage,
    "order": order.order,
    "numbers": lineage.numbers,
    "progress": lineage.progress,
    "one-trainer": machines.one_trainer,
    "claims": machines.claims,
    "acts-journaled": machines.acts_journaled,
    "machines-end": machines.machines_end,
    "replay": agreement.replays,
    "readers": agreement.readers,
    "obedience": agreement.obedience,
    "bill": money.bill,
    "limits": money.limits,
    "outcomes": outcomes.outcomes,
    "no-bug": outcomes.no_bug,
    "durable-steps": waste.durable_steps,
    "redone-work": waste.redone_work,
    "double-training": waste.double_training,
    "false-loss": trust.false_loss,
    "idle-machine": idleness.idle_machine,
    "cooldown": idleness.cooldown,
    "self-overtaken": rivalry.self_overtaken,
    "turns": rivalry.turns,
    "ends": liveness.ends,
    "requests": liveness.requests,
}


def judge(world: FaultyWorld) -> list[Violation]:
    """Everything that any checker objects to, in the order of CHECKERS."""
    return [Violation(name, world.seed, what) for name, check in CHECKERS.items() for what in check(world)]
