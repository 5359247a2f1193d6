"""How an attempt ended, judged from what the program left behind. Pure; `agent` writes the report.

The supervisor treats the kinds very differently (a preemption costs nothing, three failures end the run), so the order of the
questions matters: what the trainer says of itself, then what we did to it, and only then what its wait status looks like.
"""

import signal
from dataclasses import dataclass

from launcher.core.contract import NOT_STARTED, ExitKind, TrainerProgress
from launcher.node.process import Ended
from launcher.node.reasons import Told

_FAULTS = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL})  # a program's own doing
_RELAYED_KILLS = {128 + signal.SIGKILL: signal.SIGKILL, 128 + signal.SIGTERM: signal.SIGTERM}  # as shells report a child's


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The part of an ExitReport that says how and why."""

    outcome: ExitKind
    reason: str
    exit_code: int | None = None
    signal: int | None = None
    hang: bool = False


def classify(ended: Ended, progress: TrainerProgress, told: Told | None, hang: str | None) -> Ending:
    """`told` is why we ended the program, None where it ended untold; `hang` what stood still, where that made us kill it."""
    if _is_believed(ended, progress.outcome, told, hang):
        assert progress.outcome is not None, "only what was said is believed"
        return _ending(progress.outcome, progress.reason or f"the trainer ended as {progress.outcome.value}", ended)
    if hang is not None:
        return _ending(ExitKind.PROGRAM_FAILED, hang, ended, hang=True)
    if told is not None:
        # Whatever its status: torchrun exits 1 when it is told to end, and an unaware program dies of SIGTERM.
        return _ending(told.outcome, f"{told.reason} ({progress.reason})" if progress.reason else told.reason, ended)
    if ended.signal in _FAULTS:
        return _ending(ExitKind.PROGRAM_FAILED, f"the program died of {_name(ended.signal)}", ended)
    number = ended.signal or _RELAYED_KILLS.get(ended.exit_code or 0)
    if number is not None:
        reason = f"the program was killed by {_name(number)}, which neither the market nor launch sent"
        return Ending(outcome=ExitKind.KILLED, reason=reason, exit_code=ended.exit_code, signal=number)
    if ended.exit_code == 0:
        return _ending(ExitKind.FINISHED, "the program ended by itself", ended)
    after = " after its training had finished" if progress.outcome is ExitKind.FINISHED else ""
    return _ending(ExitKind.PROGRAM_FAILED, f"the program exited with code {ended.exit_code}{after}{meaning(ended)}", ended)


def meaning(ended: Ended) -> str:
    """What the exit code says beyond its number; most say nothing."""
    said = NOT_STARTED.get(ended.exit_code or 0)
    return f": {said}" if said else ""


def _is_believed(ended: Ended, outcome: ExitKind | None, told: Told | None, hang: str | None) -> bool:
    """What the trainer says of itself counts, but its loop is not the whole program: what follows it may fail."""
    if outcome is ExitKind.FINISHED:
        return ended.exit_code == 0 or told is not None or hang is not None
    return outcome is not None and not (outcome is ExitKind.DRAINED and told is not None)


def _ending(outcome: ExitKind, reason: str, ended: Ended, *, hang: bool = False) -> Ending:
    return Ending(outcome=outcome, reason=reason, exit_code=ended.exit_code, signal=ended.signal, hang=hang)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
