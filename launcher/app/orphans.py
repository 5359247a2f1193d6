"""Machines that carry our labels and that nobody wants any more, by the journal of the run whose they are.

Only the journal may say so. A machine whose run is not known here, or whose journal cannot be read, is left alone: it may be a
colleague's, or train.
"""

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from launcher.adapters.cloud.base import Machine
from launcher.adapters.history import History
from launcher.app.home import Home, at
from launcher.app.keeping import about_kept
from launcher.core.instance import attempt_of
from launcher.core.run.interpret import drain_max
from launcher.core.run.keeping import kept
from launcher.core.run.state import RunState
from launcher.errors import LaunchError
from launcher.units import Utc, show_duration


class Fate(enum.Enum):
    UNWANTED = "unwanted"
    WANTED = "wanted"
    UNKNOWN = "unknown"


_LEAVES = (Fate.UNWANTED, Fate.UNKNOWN, Fate.WANTED)  # of two verdicts the later one stands


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    machine: Machine
    fate: Fate
    reason: str


def judged(home: Home, machines: Iterable[Machine], stores: Iterable[str], now: Utc) -> Iterator[Verdict]:
    """`stores`: of runs that this home does not know."""
    named = tuple(stores)
    for machine in machines:
        run, incarnation, _ = machine.name.rsplit("-", 2)
        urls = dict.fromkeys((*named, *(entry.store for entry in home.entries() if entry.run == run)))
        yield _judged(machine, run, incarnation, list(urls), now)


def _judged(machine: Machine, run: str, incarnation: str, urls: list[str], now: Utc) -> Verdict:
    """A run may lie in several places, of which one is a copy: the machine is whose it may be, so each has to let go of it."""
    verdicts = []
    for url in urls:
        try:
            found = at(url)
            if (found.head.run, found.head.incarnation) == (run, incarnation):
                verdicts.append(_by_journal(machine, found.read(), now))
        except LaunchError as error:
            told = f"its journal cannot be read: {error}"
            verdicts.append(Verdict(machine=machine, fate=Fate.UNKNOWN, reason=told))
    if verdicts:
        return max(verdicts, key=lambda verdict: _LEAVES.index(verdict.fate))
    told = f"no run {run} of this machine is known here; name its store"
    return Verdict(machine=machine, fate=Fate.UNKNOWN, reason=told)


def _by_journal(machine: Machine, history: History, now: Utc) -> Verdict:
    state, number = history.state, attempt_of(machine.name)
    # What is void has used up its number. Numbers are passed over where a copy saw machines that it did not start, too.
    is_strange = number not in state.attempts and not state.voided
    if number >= state.next_attempt or is_strange:
        told = f"its journal knows of no attempt {number}: that is a copy, or older than the machine"
        return Verdict(machine=machine, fate=Fate.UNKNOWN, reason=told)
    reason = _why_unwanted(state, number, now)
    if reason:
        return Verdict(machine=machine, fate=Fate.UNWANTED, reason=reason)
    if told := about_kept(state, now):
        return Verdict(machine=machine, fate=Fate.WANTED, reason=f"kept: {told}")
    return Verdict(machine=machine, fate=Fate.WANTED, reason=f"its run goes on; `launch status {state.run}` says how")


def _why_unwanted(state: RunState, number: int, now: Utc) -> str:
    """Empty while it is wanted, or still has time to save."""
    attempt = state.attempts.get(number)
    if attempt is None:
        return "the record of its request is void"
    if kept(state, now) is attempt:
        return ""
    if attempt.end is not None:
        return f"its attempt ended: {attempt.end.reason}"
    if attempt.unwanted_at is None:
        return ""
    waited, patience = now - attempt.unwanted_at, drain_max(state, attempt)
    if attempt.drain and waited < patience:
        return ""
    return f"it was let go {show_duration(waited)} ago: {attempt.unwanted_reason}"
