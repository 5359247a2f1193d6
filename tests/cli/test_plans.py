"""The speed of a rehearsed market makes three lives end before the work does; plans say what is measured and what is assumed."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.app import clouds, show
from launcher.app.answer import table
from launcher.app.columns import wrapped
from launcher.app.plans import (
    AGENT_START_S,
    BUCKET_START_S,
    LIFE_LONGEST,
    assumed,
    first_plan,
    is_for_clouds,
    plan_for,
    refuse_hopeless,
    rehearsed,
    speed_of,
    timing,
)
from launcher.core.recipe import Goal, LocalSpec, Recipe, Resources
from launcher.errors import AccessError, NoCapacity, RecipeError
from tests.cli.past import home, launch

LOCAL = Resources(infra=("local",))
TRAINER = Recipe(
    name="r", trainer={"kind": "launcher.trainers.gpt", "steps": 400}, resources=LOCAL, local=LocalSpec(trace="demo")
)
PROGRAM = Recipe(name="r", run="python train.py", resources=LOCAL)


@given(startup_s=st.floats(0.1, 60), step_s=st.floats(1e-4, 10))
def test_three_longest_lives_never_train_as_much_as_there_is_to_do(startup_s: float, step_s: float):
    known = timing(TRAINER, startup_s=startup_s, step_s=step_s, is_measured=True)
    speed, _ = speed_of(TRAINER, known)
    assert known.work_s is not None
    trained_s = 3 * (LIFE_LONGEST / speed - startup_s - AGENT_START_S)
    assert trained_s < known.work_s


def test_lives_are_longer_where_the_store_takes_a_library_to_open():
    known = timing(TRAINER, startup_s=3.0, step_s=0.03, is_measured=True)
    in_bucket = replace(TRAINER, checkpoint=replace(TRAINER.checkpoint, dir="s3://bkt/runs"))
    lives_s = [LIFE_LONGEST / speed_of(recipe, known)[0] for recipe in (TRAINER, in_bucket)]
    assert lives_s[1] - lives_s[0] == pytest.approx(BUCKET_START_S)


def test_a_speed_that_is_written_out_is_taken():
    recipe = replace(TRAINER, local=LocalSpec(speed=60.0))
    assert speed_of(recipe, assumed(recipe)) == (60.0, "as local.speed says")


def test_a_program_of_ones_own_has_a_fixed_speed_and_totals_for_an_hour():
    plan, reason = first_plan(PROGRAM)
    assert plan.task.speed == 300
    assert "not known" in reason
    assert any("for 60 min of training" in note for note in plan.notes)


def test_a_first_plan_says_that_its_times_are_assumed():
    plan, reason = first_plan(TRAINER)
    assert reason.startswith("assumed")
    assert any("measures both first" in note for note in plan.notes)


def test_nothing_that_fits_names_the_nearest_miss():
    dear = replace(TRAINER, resources=Resources(infra=("local",), max_hourly_cost=0.01))
    with pytest.raises(NoCapacity, match=r"above resources\.max_hourly_cost"):
        first_plan(dear)


def test_a_gpu_that_no_offer_has_is_a_recipe_error_with_the_nearest_name():
    asking = replace(TRAINER, resources=Resources(infra=("local",), accelerators=("A1000:1",)))
    with pytest.raises(RecipeError, match="did you mean A100"):
        rehearsed(asking)
    rehearsed(replace(asking, resources=Resources(infra=("local",), accelerators=("GB300:1", "a100:1"))))


@pytest.mark.parametrize("kind", ["my.trainer", "own.trian", "own.folder", "own.plain.deeper"])
def test_a_trainer_that_is_not_there_is_refused_before_anything_is_made(kind: str, tmp_path: Path, capsys):
    for name in ("own/plain.py", "own/trainer.py", "own/folder/__init__.py", "own/runs/__main__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("raise SystemExit('nothing of it is run')")
    path = tmp_path / "recipe.yaml"
    path.write_text(f"resources: {{infra: local}}\ntrainer: {{kind: {kind}}}\nworkdir: .\n")
    assert launch("train", str(path)) == 2
    assert (
        f"trainer.kind is '{kind}', and there is no such module in {tmp_path}, nor where {sys.executable} finds its own; "
        "my/trainer.py in it is `kind: my.trainer`"
    ) in capsys.readouterr().err
    assert not home().exists()
    for there in ("own.trainer", "own.plain", "own.runs", "json.tool"):
        assert launch("plan", str(path), f"trainer.kind={there}") == 0
    (tmp_path / "own" / "folder" / "more.py").touch()
    assert launch("plan", str(path), "trainer.kind=folder.more") == 2
    assert launch("plan", str(path), "trainer.kind=folder.more", f"envs.PYTHONPATH=other{os.pathsep}own") == 0


def test_a_recipe_that_names_no_place_runs_here_and_one_that_names_clouds_never_does_in_silence():
    assert rehearsed(replace(TRAINER, resources=Resources())).is_local
    for resources in (Resources(infra=("aws",)), Resources(accelerators=("H100:1",)), Resources(infra=("local", "gcp"))):
        asking = replace(TRAINER, resources=resources)
        assert is_for_clouds(asking)
        with pytest.raises(AccessError, match=r"resources\.infra=local"):
            clouds.check(asking)


@pytest.mark.parametrize("goal", [Goal(deadline=60.0), Goal(budget=0.01)])
def test_a_goal_that_cannot_be_met_is_refused_by_a_plan_and_noted_where_times_are_measured_first(goal: Goal):
    asking = replace(TRAINER, policy=goal)
    plan, _ = first_plan(asking)
    assert any(note.startswith("the run would pause before its first machine: the ") for note in plan.notes)
    with pytest.raises(NoCapacity, match=r"would do \(by assumed times"):
        refuse_hopeless(asking, plan)
    plan, _ = first_plan(TRAINER)
    refuse_hopeless(TRAINER, plan)


def test_a_deadline_that_has_passed_is_a_recipe_error():
    with pytest.raises(RecipeError, match="has passed already; write a later one"):
        first_plan(replace(TRAINER, policy=Goal(deadline_at=1.0)))


def test_the_load_of_a_busy_machine_lengthens_totals_and_refuses_no_deadline():
    known = replace(timing(TRAINER, startup_s=3.0, step_s=0.03, is_measured=True), load=3.0)
    enough = replace(TRAINER, policy=Goal(deadline=2 * 3600.0), local=LocalSpec(speed=300.0))
    made = plan_for(enough, known, 300.0, 0.0)
    assert made.task.work == pytest.approx(3 * 3600.0)
    assert not any("before its first machine" in note for note in made.notes)


def test_the_plan_is_a_table_with_the_chosen_place_marked():
    plan, _ = first_plan(TRAINER)
    lines = show.plan_lines(plan)
    chosen = [line for line in lines if line.endswith("✔")]
    assert len(chosen) == 1
    assert plan.chosen is not None
    assert str(plan.chosen.offer.placement) in chosen[0]
    assert any(line.startswith("checkpoint every") for line in lines)


def test_columns_are_as_wide_as_their_widest_cell():
    assert table([("A", "B"), ("long", "1"), ("x", "100")], right=frozenset({1})) == ["A       B", "long    1", "x     100"]


def test_a_figure_keeps_its_unit_at_the_end_of_a_line() -> None:
    assert wrapped("about 8.6 h of work", 10) == ["about", "  8.6 h of", "  work"]
