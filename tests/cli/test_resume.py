"""What `launch resume` says before it goes on is what it does: from where, and whether budget or deadline let it."""

import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from launcher.adapters.history import History
from launcher.app import wiring
from launcher.app.commands import resume
from launcher.app.home import Home, find
from launcher.app.opening import begin, create
from launcher.app.plans import first_plan
from launcher.app.session import Session
from launcher.beacon import Lamp
from launcher.clock import ScaledClock, SystemClock
from launcher.core.contract import SUPERVISOR_KEY
from launcher.core.recipe import Goal, Recipe, Resources
from launcher.core.run import events as ev
from launcher.core.tempo import Tempo
from launcher.sim.world import START
from launcher.units import MINUTE
from tests.cli.past import (
    cut,
    document,
    everything,
    home,
    keep,
    launch,
    local,
    number_of,
    out_of_budget,
    preempted,
    with_checkpoints,
)
from tests.market import lists
from tests.simulation.worlds import FixedTrace, Sim


def refused(capsys: pytest.CaptureFixture[str], *changes: str, exit_code: int = 4) -> str:
    """What a resume that cannot help says, the same with and without --dry-run, and changes nothing."""
    launch("prices", "A100")  # whoever looks at prices keeps an index of them
    capsys.readouterr()
    before = everything()
    assert [launch("resume", "r", *changes, *dry, "-y") for dry in (("--dry-run",), ())] == [exit_code, exit_code]
    first, second = capsys.readouterr().err.splitlines()
    assert first == second
    assert everything() == before
    return first


def late() -> Sim:
    """Paused at its deadline of 100 min, since two machines went without a warning."""
    recipe = local()
    recipe = replace(recipe, policy=replace(recipe.policy, deadline=100 * MINUTE))
    trace = FixedTrace(up=40 * MINUTE, notice=lambda place, k: False)
    sim = Sim(recipe=recipe, trace=trace, deadline_at=START + 100 * MINUTE)
    sim.run()
    return sim


def test_a_budget_that_buys_no_attempt_is_refused_with_one_that_finishes_the_run(capsys: pytest.CaptureFixture[str]):
    keep(out_of_budget())
    said = refused(capsys)
    assert "r would be paused again before it had a machine: $0.13 is left of the budget of $0.50, and the least attempt" in said
    assert said.endswith("; go on with `launch resume r policy.budget=1.9`")
    assert "$0.14 is left of the budget of $0.51" in refused(capsys, "policy.budget=0.51")
    assert document(capsys, "resume", "r", "policy.budget=1.9", "--dry-run")["would"].startswith("go on from step ")


def test_a_deadline_that_nothing_can_meet_is_refused_with_one_that_will_do(capsys: pytest.CaptureFixture[str]):
    keep(late())
    assert "the deadline has passed; go on with `launch resume r policy.deadline=2h`" in refused(capsys)
    assert "the deadline is in 51 s, and 90 s to start and 92 s of work take 3 min" in refused(capsys, "policy.deadline=101m")
    assert launch("resume", "r", "policy.deadline=2h", "--dry-run") == 0


def test_changes_that_leave_nothing_on_offer_are_refused_with_the_nearest_miss(capsys: pytest.CaptureFixture[str]):
    keep(out_of_budget())
    said = refused(capsys, "policy.budget=5", "resources.max_hourly_cost=0.01", exit_code=3)
    assert said.startswith("launch: nothing on offer fits the recipe; the nearest is azure westus3 ")
    assert said.endswith(" as resources.max_hourly_cost to fit")


def test_a_run_that_finds_nothing_on_offer_says_so_while_it_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Prices may rise once it goes on; here it went on with nothing on offer, and its supervisor died."""
    now = [time.monotonic()]

    def passes(seconds: float) -> None:
        now[0] += seconds

    waited = partial(ScaledClock, monotonic=lambda: now[0], sleep=passes)
    monkeypatch.setattr(wiring.clock, "ScaledClock", waited)  # no busy machine takes of the ten minutes that it may wait
    keep(out_of_budget()).delete(SUPERVISOR_KEY)
    history = begin(find(Home(home()), "r"), supervisor="s")
    recipe, at = history.state.recipe, history.records[-1].at
    dear = replace(recipe.resources, max_hourly_cost=0.01)
    resumed = replace(
        recipe, trainer=None, run="true", resources=dear, policy=Goal(), retry=replace(recipe.retry, capacity=10 * MINUTE)
    )
    history.append(ev.SpeedChosen(at=at, speed=3600.0, startup_s=1.0, work_s=None, reason="a test's"))
    history.append(ev.PlanMade(at=at, plan=first_plan(recipe)[0]))
    history.append(ev.RunResumed(at=at, recipe=resumed, deadline_at=None))
    assert launch("resume", "r") == 3
    assert " · waiting     nothing on offer among 0 offers (allowed: " in capsys.readouterr().err


def test_a_run_that_never_ended_and_is_late_by_now_says_that_it_would_end(capsys: pytest.CaptureFixture[str]):
    sim = late()
    cut(keep(sim), number_of(sim, ev.RunPaused) - 1)
    assert launch("resume", "r", "--dry-run") == 4
    assert capsys.readouterr().out == "r would end at once: the deadline has passed\n"


def test_where_a_run_goes_on_from_is_said_as_far_as_it_is_known(capsys: pytest.CaptureFixture[str]):
    with_checkpoints()
    newest = document(capsys, "resume", "r", "--dry-run")["would"]
    assert newest == "go on from step 30, its newest checkpoint, verified when it is restored"
    assert document(capsys, "resume", "r", "--dry-run", "--from", "25")["would"] == "go on from step 20, which is whole"
    assert document(capsys, "resume", "r", "--dry-run", "--from", "0")["would"] == "start over from the beginning"


def test_a_run_that_saved_nothing_yet_starts_from_the_beginning(capsys: pytest.CaptureFixture[str]):
    sim = Sim(recipe=local(budget=0.1))
    sim.run()
    keep(sim)
    would = document(capsys, "resume", "r", "policy.budget=5", "--dry-run")["would"]
    assert would == "start from the beginning: nothing is saved yet, policy.budget=5.00"


def test_a_run_that_another_supervises_is_refused_with_the_whole_commands_that_help(capsys: pytest.CaptureFixture[str]):
    store, _ = with_checkpoints()
    Lamp(store, SystemClock(), "sup-1").burn(Tempo(), 0.0)
    assert launch("resume", "r") == 7
    assert capsys.readouterr().err.endswith("; `launch stop r` pauses it, `launch resume r -y` takes it over\n")
    assert launch("resume", store.url) == 7
    assert f"`launch resume {store.url} -y` takes it over" in capsys.readouterr().err


def test_from_whom_a_run_is_taken_over_is_said_though_nobody_is_asked(capsys: pytest.CaptureFixture[str]):
    store, _ = with_checkpoints()
    Lamp(store, SystemClock(), "sup-1").burn(Tempo(), 0.0)
    assert launch("resume", "r", "-y", "--dry-run") == 0
    assert capsys.readouterr().err == f"r is supervised by process {os.getpid()} on an unknown host; -y takes it over\n"


def test_whoever_leaves_at_once_is_told_how_what_runs_on_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def left(session: Session, change: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "run", left)
    store, _ = with_checkpoints()
    assert launch("resume", store.url) == 130
    told = (
        f"interrupted; what was started runs on: `launch resume {store.url}` looks after it, `launch cancel {store.url}` ends it"
    )
    assert capsys.readouterr().err.endswith(f"launch: {told}\n")


def test_a_rehearsal_does_not_go_on_on_clouds(capsys: pytest.CaptureFixture[str]):
    keep(out_of_budget())
    said = refused(capsys, "policy.budget=5", "resources.infra=[aws]", "resources.accelerators=[A100:1]", exit_code=2)
    assert said.startswith("launch: r is a rehearsal, and resources.infra cannot change that; start a new run with ")


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_a_run_that_had_succeeded_is_noted_too_where_it_is_resumed_by_its_url(words: tuple[str, ...], tmp_path: Path):
    store = keep(preempted())
    assert launch("resume", store.url, *words, "--home", str(tmp_path / "other")) == 0
    assert [entry.store for entry in Home(tmp_path / "other").entries()] == ([] if words else [store.url])


@pytest.fixture
def on_clouds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> History:
    """A run on a cloud that was paused."""
    priced = lists.aws(("a2", "A100", 1, 3.0, 1.0, "use1-az1"))
    monkeypatch.setenv("LAUNCH_CATALOG", str(lists.folder(tmp_path / "lists", aws=priced)))
    monkeypatch.setattr(resume, "check_here", lambda recipe: None)  # neither SkyPilot nor a bucket is here
    recipe = Recipe(name="r", run="true", resources=Resources(infra=("aws",)), policy=Goal(budget=40.0))
    history = begin(create(Home(home()), recipe, "r"), supervisor="s")
    history.append(ev.RunPaused(at=history.records[-1].at, exit_code=130, reason="stopped on request"))
    return history


def test_a_run_that_had_ended_spends_no_more_on_clouds_before_somebody_says_yes(
    on_clouds: History, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    begun: list[str] = []
    monkeypatch.setattr(resume, "finish", lambda args, screen, found, training: begun.append(found.head.run) or 0)
    assert launch("resume", "r") == 2
    assert "spending money: $0.00 of $40.00 so far; there is nobody to ask here, so add -y" in capsys.readouterr().err
    assert not begun
    assert launch("resume", "r", "-y") == 0
    assert begun == ["r"]


def test_a_run_on_clouds_does_not_go_on_as_a_rehearsal(on_clouds: History, capsys: pytest.CaptureFixture[str]):
    assert "r is a run on clouds, and " in refused(capsys, "resources.infra=local", exit_code=2)


def test_a_cluster_of_ones_own_is_no_place_for_a_run_that_wants_spot(on_clouds: History, capsys: pytest.CaptureFixture[str]):
    cluster = ("resources.infra=[slurm/hopper/batch]", "resources.accelerators=[H100:8]")
    said = refused(capsys, *cluster, "resources.use_spot=true", exit_code=3)
    assert "the nearest is slurm batch hopper (on-demand) at unpriced: " in said
    assert said.endswith("allow on-demand by resources.use_spot=auto to fit")
    assert launch("resume", "r", *cluster, "--dry-run") == 0


def test_a_run_that_has_not_ended_goes_on_by_the_yes_that_it_began_with(on_clouds: History, monkeypatch: pytest.MonkeyPatch):
    on_clouds.append(ev.RunResumed(at=on_clouds.records[-1].at, recipe=on_clouds.state.recipe, deadline_at=None))
    monkeypatch.setattr(resume, "finish", lambda args, screen, found, training: 0)
    assert launch("resume", "r") == 0
