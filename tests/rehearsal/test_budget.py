"""A budget that ends in the middle of a run: paused with 4, never overspent, and gone on with once there is more."""

from pathlib import Path

import pytest

from launcher import clock
from launcher.adapters.cloud.local_registry import clock_of
from scripts.drills.scene import Scene, answer_of, eventually
from tests.conformance.clouds import jump
from tests.rehearsal.stages import await_step, instance, newest, scene_in, state_of, train

pytestmark = pytest.mark.slow

BUDGET = 60.0  # dollars
# At speed 600 a second here costs 61 cents on demand, and nothing takes the machine before the budget ends. The start of a busy
# machine and the reserve for saving and deletion fit into it; then the clock is set to its end, in the midst of the training.
DEAR = (
    "local.speed=600",
    "resources.use_spot=false",
    f"policy.budget={BUDGET}",
    "trainer.steps=400",
    "trainer.slow_from=20",
)


def pass_until_the_budget_ends(scene: Scene) -> None:
    (attempt,) = state_of(scene).attempts.values()
    assert attempt.stop_at is not None
    path = clock_of(scene.registry)
    jump(path, attempt.stop_at - clock.position(path))


def test_a_budget_that_ends_pauses_with_4_and_goes_on_with_a_larger_one(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    supervisor = train(scene, *DEAR)
    await_step(scene, 10)
    pass_until_the_budget_ends(scene)
    ended = answer_of(supervisor)
    assert (ended.code, ended.json["state"]) == (4, "PAUSED"), scene.said()
    assert ended.json["cost"]["spent_usd"] <= BUDGET
    before = newest(scene)
    assert before.urgent, "it saved before it ended"

    ended = scene.launch("resume", scene.run, "policy.budget=300", "-o", "json")
    assert ended.code == 0, scene.said()
    assert ended.json["proof"]["losses_equal"] is True
    times = [record.at for record in scene.history().records]
    assert times == sorted(times), "market time stood still meanwhile, and never ran back"


def test_a_budget_holds_while_nobody_supervises(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    supervisor = train(scene, *DEAR)
    await_step(scene, 10)
    supervisor.kill()
    supervisor.communicate()
    pass_until_the_budget_ends(scene)
    eventually(lambda: instance(scene).ended(), "the agent ends at stop_at by itself")
    last = newest(scene)
    assert last.urgent, "it saved before it ended"

    ended = scene.launch("resume", scene.run, "-o", "json")
    assert (ended.code, ended.json["state"], ended.json["step"]) == (4, "PAUSED", last.step), scene.said()
    assert ended.json["cost"]["spent_usd"] <= BUDGET
