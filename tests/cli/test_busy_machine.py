"""A plan's totals hold for an idle machine, say so, and count with what the reference run met where it is a busy one."""

import time
from dataclasses import replace

import pytest

from launcher import processes
from launcher.adapters import durable
from launcher.adapters.cloud.local_reference import ReferenceHosted, measure, reference_folder
from launcher.adapters.history import History
from launcher.app import wiring
from launcher.app.live import Screen
from launcher.app.plans import assumed, first_plan, plan_for, speed_of
from launcher.app.rehearsal import prepare
from launcher.app.signals import Signals
from launcher.codec import dumps
from launcher.core.contract import PROGRESS_FILE, TrainerProgress
from launcher.core.plan.planner import Plan
from launcher.core.run import events as ev
from tests.builders import NOW
from tests.cli.past import INCARNATION, local, note


def measured_at(load: float) -> None:
    """A reference run that has measured a step of 0.1 s and a start-up of 2 s on a machine of this load."""
    folder = reference_folder(wiring.registry_of(INCARNATION))
    (folder / "work").mkdir(parents=True)
    now = time.monotonic()
    hosted = ReferenceHosted(host=processes.me(), boot_id=processes.boot_id(), mark="test", trainer_started_mono=now - 2)
    seen = TrainerProgress(step=30, total_steps=5400, first_step_mono=now, step_s_low=0.1, load=load)
    durable.replace_durably(folder / "host.json", dumps(hosted))
    durable.replace_durably(folder / "work" / PROGRESS_FILE, dumps(seen))


def prepared(monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.setattr(wiring, "start_reference", lambda state, store: None)
    history = History(note("r"), INCARNATION, writer="s1")
    history.open(ev.SupervisorStarted(at=NOW, supervisor="s1", host="h", pid=1))
    history.append(ev.RunCreated(at=NOW, run="r", incarnation=INCARNATION, recipe=local(), deadline_at=None, code=None))
    prepare(history, Screen(is_quiet=True), Signals())
    return history


def plan_at(load: float, monkeypatch: pytest.MonkeyPatch) -> tuple[Plan, float]:
    measured_at(load)
    history = prepared(monkeypatch)
    assert history.plan is not None
    return history.plan, history.state.speed


def test_the_plan_of_a_run_on_a_busy_machine_counts_with_the_load_and_says_so(monkeypatch: pytest.MonkeyPatch):
    plan, speed = plan_at(3.0, monkeypatch)
    assert plan.task.work == pytest.approx(5400 * 0.1 * 3 * speed)
    assert plan.task.step == pytest.approx(0.1 * 3 * speed)
    assert any("steps take 3.0 times as long as alone" in note for note in plan.notes)
    assert not any("while nothing else" in note for note in plan.notes)


def test_the_plan_of_a_run_on_a_calm_machine_says_what_it_holds_for(monkeypatch: pytest.MonkeyPatch):
    plan, speed = plan_at(1.2, monkeypatch)
    assert plan.task.work == pytest.approx(5400 * 0.1 * speed)
    assert any("hold while nothing else keeps this machine busy" in note for note in plan.notes)


def test_a_load_makes_the_totals_dearer_and_leaves_the_speed_of_the_market():
    recipe = local()
    calm = replace(assumed(recipe), is_measured=True)
    busy = replace(calm, load=4.0)
    assert speed_of(recipe, busy) == speed_of(recipe, calm)
    alone, beside = (plan_for(recipe, known, 100.0, NOW).chosen for known in (calm, busy))
    assert alone is not None
    assert beside is not None
    assert beside.estimate.usd > 3 * alone.estimate.usd


def test_a_plan_before_anything_was_measured_is_for_an_idle_machine():
    plan, _ = first_plan(local())
    assert any("on an idle machine" in note for note in plan.notes)


def test_a_load_below_that_of_an_idle_machine_is_none():
    measured_at(0.5)
    found = measure(wiring.registry_of(INCARNATION))
    assert found is not None
    assert found.load == 1.0
