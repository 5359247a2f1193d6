"""What became of a run, as one value: `train`, `resume`, `status` and `report` print this, as text or as JSON.

Seconds are real ones, money is the market's; in a rehearsal the one is faster than the other and the other is not money at all,
so `rehearsed_hours` and `simulated` stand beside them.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from launcher.adapters.commits import read_commit
from launcher.adapters.history import History
from launcher.adapters.store.base import ObjectStore
from launcher.app.counting import at, told, unit_of
from launcher.app.logbook import Logbook
from launcher.app.proof import Proof, weight_files
from launcher.codec import Json
from launcher.core.checkpoint.manifest import FileEntry, Manifest
from launcher.core.contract import NOT_STARTED, RECIPE_KEY, ExitKind
from launcher.core.instance import EndCause
from launcher.core.policy.base import Phase
from launcher.core.recipe import script_left_behind
from launcher.core.run import barren
from launcher.core.run.ledger import Ledger, ledger
from launcher.core.run.purse import needed
from launcher.core.run.spent import has_unpriced
from launcher.core.run.state import Attempt, RunState
from launcher.core.run.view import total_steps
from launcher.errors import StoreError
from launcher.units import HOUR, Seconds, Step, Usd, Utc

EXIT_STORE = 6
EXIT_PROOF = 8
SCHEMA_VERSION = 1
TAIL_LINES = 5  # the end of a traceback: where, what, why


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Real seconds; `elapsed` is the sum of the others."""

    elapsed: Seconds
    useful: Seconds
    redone: Seconds
    saving: Seconds
    restoring: Seconds
    waiting: Seconds

    def share(self, part: Seconds) -> float:
        return part / self.elapsed if self.elapsed > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    spent: Usd
    on_demand: Usd | None  # what the cheapest on-demand machine would have cost for the same useful work and one start
    simulated: bool
    unpriced: bool = False  # some machine was a cluster's of one's own, whose hours are counted as 0

    @property
    def saved_fraction(self) -> float | None:
        return None if not self.on_demand else 1 - self.spent / self.on_demand


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    run: str
    recipe: str
    state: Phase
    step: Step  # in units of `unit`
    unit: str  # "step", or "commit" of a program that tells no steps: then nobody knows how many were lost
    total_steps: Step | None
    attempts: int  # that had a machine
    preemptions: int
    kills: int  # machines taken by the market with SIGKILL, as their host reaped them
    just_in_time_saves: int  # preemptions that were announced and cost no work
    steps_lost: Step
    checkpoints: int
    rehearsed_hours: float | None
    seconds: Parts
    cost: Cost
    proof: Proof | None
    store: str
    weights: tuple[str, ...]  # URLs of the final weights, once the run has succeeded
    files: tuple[str, ...]  # URLs of all that its last checkpoint holds; what a program under `run:` leaves is these
    exit_code: int
    reason: str
    program_exit_code: int | None
    log_tail: tuple[str, ...]  # the last lines that the program of a failed run printed
    resume: str  # the command by which it goes on, or a new run in its place

    @property
    def tells_steps(self) -> bool:
        return self.unit == "step"

    @property
    def reached(self) -> str:
        return at(self.step, self.unit, self.total_steps)


def result_of(history: History, now: Utc, proof: Proof | None = None) -> Result:
    """The result at `now`, on the market's clock. A failed proof is the run's exit code."""
    state = history.state
    books = ledger(state, now, on_demand_price=history.plan.on_demand_price if history.plan else None)
    terminal = state.terminal
    exit_code = terminal.exit_code if terminal else 0
    return Result(
        run=state.run,
        recipe=state.recipe.name,
        state=state.phase,
        step=state.newest_step,
        unit=unit_of(state),
        total_steps=total_steps(state),
        attempts=sum(a.billed_from is not None for a in state.attempts.values()),
        preemptions=books.preemptions,
        kills=sum(map(_was_killed, state.attempts.values())),
        just_in_time_saves=books.just_in_time,
        steps_lost=books.steps_lost,
        checkpoints=sum(a.num_commits for a in state.attempts.values()),
        rehearsed_hours=books.times.elapsed / HOUR if state.recipe.is_local else None,
        seconds=_parts(books, state.speed),
        cost=Cost(
            spent=books.spent.likely, on_demand=books.on_demand, simulated=state.recipe.is_local, unpriced=has_unpriced(state)
        ),
        proof=proof,
        store=history.store.url,
        weights=_final_urls(history, weight_files),
        files=_final_urls(history, lambda last: last.files),
        exit_code=EXIT_PROOF if proof is not None and proof.has_failed else exit_code,
        reason=terminal.reason if terminal else "",
        program_exit_code=terminal.program_exit_code if terminal else None,
        log_tail=log_tail(history.store, state) if state.phase is Phase.FAILED else (),
        resume=resume_command(state, history.store.url),
    )


def resume_command(state: RunState, store: str) -> str:
    """What a person types to go on, with the change without which the same end would come again.

    A run keeps its speed, so one whose lives are too short is begun anew, from the recipe that was frozen into it.
    """
    if must_begin_anew(state):
        return f"launch train {_frozen_recipe(store)} local.speed={barren.slower(state):g}"
    return " ".join((f"launch resume {state.run}", *_needed_to_go_on(state)))


def must_begin_anew(state: RunState) -> bool:
    return has_published_nothing(state) and barren.are_too_short(state)


def has_published_nothing(state: RunState) -> bool:
    """Whether that is what the run was paused for."""
    return state.terminal is not None and state.terminal.exit_code == EXIT_STORE and barren.are_too_many(state)


def _frozen_recipe(store: str) -> str:
    """As `launch train` takes it: a file; of a store that is none, the recipe that a person has."""
    url = urlsplit(store)
    return shlex.quote(f"{unquote(url.path)}/{RECIPE_KEY}") if url.scheme == "file" else "RECIPE"


def _needed_to_go_on(state: RunState) -> tuple[str, ...]:
    terminal = state.terminal
    if terminal is None:
        return ()
    if terminal.phase is Phase.FAILED and script_left_behind(state.recipe) is not None:
        return ("workdir=. --allow-change workdir",)
    if terminal.program_exit_code in NOT_STARTED:
        key = _key_of_program(state)
        return (f"{key}='…' --allow-change {key}",)  # it is the command line that is to be mended
    if terminal.phase is Phase.FAILED and state.code is not None:
        return ("--allow-change workdir",)  # a program is mended first, and its frozen copy would fail again
    needs = needed(state)
    return (needs,) if needs else ()


def _key_of_program(state: RunState) -> str:
    """Where the recipe has the command line whose exit code ended the run, or the module in place of one."""
    if state.recipe.trainer is not None:
        return "trainer.kind"
    end = None if state.last_ended is None else state.attempts[state.last_ended].end
    is_setup = end is not None and end.report is not None and end.report.outcome is ExitKind.SETUP_FAILED
    return "setup" if is_setup else "run"


def log_tail(store: ObjectStore, state: RunState) -> tuple[str, ...]:
    """The last lines of the newest attempt that trained, which are where a program says why it failed."""
    if state.writer is None:
        return ()
    try:
        pieces = Logbook(store).tail([state.writer], TAIL_LINES)
    except StoreError:  # a help to the eye
        return ()
    return tuple(b"".join(piece.data for piece in pieces).decode("utf-8", "replace").splitlines()[-TAIL_LINES:])


def with_exit_code(result: Result, exit_code: int, reason: str) -> Result:
    """The result of a command that ended before its run did."""
    return replace(result, exit_code=exit_code, reason=reason)


def as_json(result: Result) -> dict[str, Json]:
    """The document of `-o json`; public, so its keys only ever grow."""
    s, cost, proof = result.seconds, result.cost, result.proof
    return {
        "schema_version": SCHEMA_VERSION,
        "run": result.run,
        "recipe": result.recipe,
        "state": result.state.value,
        **told(result.step, result.unit),
        "total_steps": result.total_steps,
        "attempts": result.attempts,
        "preemptions": result.preemptions,
        "kills": result.kills,
        "just_in_time_saves": result.just_in_time_saves if result.tells_steps else None,
        "steps_lost": result.steps_lost if result.tells_steps else None,
        "checkpoints": result.checkpoints,
        "rehearsed_hours": _rounded(result.rehearsed_hours, 3),
        "seconds": {
            "elapsed": _rounded(s.elapsed, 3),
            "useful": _rounded(s.useful, 3),
            "redone": _rounded(s.redone, 3),
            "saving": _rounded(s.saving, 3),
            "restoring": _rounded(s.restoring, 3),
            "waiting": _rounded(s.waiting, 3),
        },
        "cost": {
            "spent_usd": _rounded(cost.spent, 4),
            "on_demand_usd": _rounded(cost.on_demand, 4),
            "saved_fraction": _rounded(cost.saved_fraction, 4),
            "simulated": cost.simulated,
            "unpriced": cost.unpriced,
        },
        "proof": None if proof is None else _proof_json(proof),
        "store": result.store,
        "weights": list(result.weights),
        "files": list(result.files),
        "exit_code": result.exit_code,
        "reason": result.reason,
        "program_exit_code": result.program_exit_code,
        "log_tail": list(result.log_tail),
    }


def _proof_json(proof: Proof) -> dict[str, Json]:
    delta = proof.weights_max_abs_delta
    return {
        "compared": proof.compared,
        "losses_equal": proof.losses_equal,
        "weights_max_abs_delta": delta if delta is None or abs(delta) != float("inf") else None,
        "losses": proof.num_losses,
        "reason": proof.reason,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _was_killed(attempt: Attempt) -> bool:
    """By the market, and seen by the host that reaped it."""
    return attempt.bill is not None and (attempt.bill.cause, attempt.bill.wait_status) == (EndCause.PREEMPTED, "signal 9")


def _parts(books: Ledger, speed: float) -> Parts:
    times = books.times
    parts = (times.elapsed, times.useful, times.redone, times.saving, times.restoring, times.waiting)
    elapsed, useful, redone, saving, restoring, waiting = (market / speed for market in parts)
    return Parts(elapsed=elapsed, useful=useful, redone=redone, saving=saving, restoring=restoring, waiting=waiting)


def _final_urls(history: History, files_of: Callable[[Manifest], tuple[FileEntry, ...]]) -> tuple[str, ...]:
    last = final_manifest(history)
    return () if last is None else tuple(f"{history.store.url}/{f.key}" for f in files_of(last))


def final_manifest(history: History) -> Manifest | None:
    """The last checkpoint of a succeeded run."""
    state: RunState = history.state
    if state.phase is not Phase.SUCCEEDED or state.newest_commit is None:
        return None
    found = read_commit(history.store, state.newest_commit)
    return found if isinstance(found, Manifest) else None
