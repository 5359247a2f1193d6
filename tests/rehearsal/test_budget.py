"""A budget that ends in the middle of a run: paused with 4, never overspent, and gone on with once there is more."""

from pathlib import Path

import pytest

from scripts.drills.scene import eventually
from tests.rehearsal.stages import await_step, instance, newest, scene_in, train, trained

pytestmark = pytest.mark.slow

BUDGET = 18.0  # dollars
# At speed 600 a second here costs 61 cents on demand, and nothing takes the machine before the budget ends. A start, some steps
# and the reserve for saving and deletion fit into it; the whole training does not.
DEAR = ("local.speed=600", "resources.use_spot=false", f"policy.budget={BUDGET}", "trainer.steps=1000")


def test_a_budget_that_ends_pauses_with_4_and_goes_on_with_a_larger_one(tmp_path: Path):
    scene = scene_in(tmp_path / "scene")
    ended = trained(scene, *DEAR)
    assert (ended.code, ended.json["state"]) == (4, "PAUSED"), scene.said()
    assert ended.json["cost"]["spent_usd"] <= BUDGET
    before = newest(scene)
    assert 0 < before.step < 1000

    ended = scene.launch("resume", scene.run, "policy.budget=100", "-o", "json")
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
    eventually(lambda: instance(scene).ended(), "the agent ends at stop_at by itself")
    last = newest(scene)
    assert last.urgent, "it saved before it ended"

    ended = scene.launch("resume", scene.run, "-o", "json")
    assert (ended.code, ended.json["state"], ended.json["step"]) == (4, "PAUSED", last.step), scene.said()
    assert ended.json["cost"]["spent_usd"] <= BUDGET
