"""What `launch resume` journals: the changes to the recipe, and the checkpoint to go on from where one is named.

Everything is checked on a read of the journal, before it is opened for writing, so that a refusal leaves no trace.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from launcher.adapters import recipe_file
from launcher.adapters.history import History
from launcher.adapters.market.priced import priced
from launcher.adapters.store.base import ObjectStore
from launcher.app import staying
from launcher.app.code import frozen_code, key_of, left_behind, packed
from launcher.app.pricelists import price_index
from launcher.app.requests import withdraw_unseen
from launcher.app.wiring import offers_of, policy_of, trace_of
from launcher.checkpoint import verify
from launcher.core.checkpoint.manifest import Manifest
from launcher.core.market.lives import PRIOR
from launcher.core.market.quota import Refusals
from launcher.core.plan.goal import deadline_of
from launcher.core.plan.limits import accepted, nearest_miss, standing
from launcher.core.plan.shopping import anywhere
from launcher.core.policy.base import Phase
from launcher.core.recipe import Recipe
from launcher.core.run import events as ev
from launcher.core.run.deliberate import deliberate
from launcher.core.run.evolve import evolve
from launcher.core.run.observation import Watch
from launcher.core.run.state import RunState
from launcher.core.run.verdict import Verdict, judge
from launcher.errors import NoCapacity, UsageError
from launcher.retention import chain_of
from launcher.units import Step, Utc


def resumption(
    history: History, at: Utc, overrides: Sequence[str], allowed: Sequence[str], from_step: Step | None
) -> ev.RunResumed | None:
    """The record that lets an ended run go on; None for one that never ended. Raises UsageError, RecipeError."""
    state = history.state
    if state.terminal is None:
        if overrides or allowed or from_step is not None:
            raise UsageError(f"{state.run} has not ended; `launch stop {state.run}` first, then resume it with changes")
        return None
    recipe, changes = recipe_file.change(state.recipe, overrides, allowed)
    if recipe.is_local != state.recipe.is_local:  # one has its lives and its clock from a trace, the other an agent in its store
        kind = "a rehearsal" if state.recipe.is_local else "a run on clouds"
        raise UsageError(f"{state.run} is {kind}, and resources.infra cannot change that; start a new run with `launch train`")
    branch = None if not from_step else _intact(state, history.store, from_step)
    return ev.RunResumed(
        at=at,
        recipe=recipe,
        deadline_at=deadline_of(recipe.policy, state.created_at),
        changes=changes,
        branched=from_step is not None,
        parent=branch.ref if branch else None,
        step=branch.step if branch else 0,
    )


def with_new_code(resumed: ev.RunResumed, history: History, allowed: Sequence[str]) -> ev.RunResumed:
    """With the workdir frozen again where `--allow-change workdir` says so: files may differ though the folder's name does not.

    Raises UsageError where the folder is gone.
    """
    code = frozen_code(history.store, resumed.recipe.workdir) if "workdir" in allowed else None
    if code is None or code == history.state.code:
        return resumed
    return replace(resumed, code=code, changes={**resumed.changes, "workdir": f"{resumed.recipe.workdir} (its files as of now)"})


def ends_at_once(history: History, resumed: ev.RunResumed | None, at: Utc) -> Verdict | None:
    """How the run would end before it had a machine, were it gone on with now, by the loop's own rules; None where it goes on."""
    state = history.state if resumed is None else evolve(history.state, resumed)
    verdict = judge(state, at)
    if verdict is not None:
        return None if verdict.phase is Phase.SUCCEEDED else verdict
    for event in deliberate(state, policy_of(state), history.market, Watch(), at).events:
        if isinstance(event, ev.RunPaused):
            return Verdict(phase=Phase.PAUSED, reason=event.reason, exit_code=event.exit_code, needs=event.needs)
    return None


def check_places(recipe: Recipe, home: Path, refused: Refusals, at: Utc) -> None:
    """Raises NoCapacity where nothing on offer fits, as a plan does: such a run would wait, and for nothing."""
    wanted, quotas = recipe if recipe.is_local else anywhere(recipe), standing(recipe, refused, at)
    offers = offers_of(trace_of(recipe.local)) if recipe.is_local else priced(wanted, price_index(home), PRIOR)
    if not accepted(wanted, offers, quotas):
        miss = nearest_miss(wanted, offers, quotas=quotas)
        nearest = f"; the nearest is {miss}; {miss.concession} to fit" if miss else ""
        raise NoCapacity(f"nothing on offer fits the recipe{nearest}")


def go_on(history: History, resumed: ev.RunResumed | None) -> None:
    """Journal the resumption, unless another supervisor did meanwhile."""
    if history.state.terminal is not None and resumed is not None:
        withdraw_unseen(history.store, history.state)
        history.append(replace(resumed, at=history.records[-1].at))  # it was made before the journal was opened


def about_code(resumed: ev.RunResumed, history: History, allowed: Sequence[str]) -> str:
    """Which code will run, where the files of the workdir are not those of the frozen copy any more, and what of it stays here;
    changes nothing.

    Raises UsageError where the folder is to be frozen anew and is gone.
    """
    workdir, frozen = resumed.recipe.workdir, history.state.code
    if workdir is not None and "workdir" in resumed.changes:
        return _staying(workdir)
    if workdir is None or frozen is None:
        return ""
    try:
        is_as_frozen = key_of(packed(Path(workdir))) == frozen
    except UsageError:
        if "workdir" in allowed:
            raise
        return ""  # without the folder there is the frozen copy, and nothing else to run
    if is_as_frozen:
        return ""
    if "workdir" in allowed:
        return f", workdir={workdir} (its files as of now){_staying(workdir)}"
    return f"; the files in {workdir} have changed, and the old ones run again unless you add --allow-change workdir"


def _staying(workdir: str) -> str:
    note = staying.told(left_behind(Path(workdir))) if Path(workdir).is_dir() else ""
    return f"; {note}" if note else ""


def _intact(state: RunState, store: ObjectStore, step: Step) -> Manifest:
    """The newest whole checkpoint of the chain at or before `step`."""
    if step < 0:
        raise UsageError(f"--from {step}: a step is 0 or more; 0 starts over")
    whole: list[Step] = []
    for manifest in chain_of(state, store):
        if not verify.verify(store, manifest.ref):
            if manifest.step <= step:
                return manifest
            whole.append(manifest.step)
    known = f"whole ones are of steps {', '.join(map(str, sorted(whole)))}" if whole else "none is whole"
    raise UsageError(f"--from {step}: no checkpoint at or before that step is whole ({known}); --from 0 starts over")
