"""`launch` on real SkyPilot and a stand-in AWS: its supervisor killed, gone for good, or taken over from another machine."""

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from launcher.core.contract import Reference
from launcher.core.instance import EndCause
from launcher.core.policy.base import Phase
from launcher.core.run.spent import spent
from launcher.core.run.state import EndKind
from launcher.core.tempo import Tempo
from launcher.units import HOUR
from tests.e2e.sky.conftest import RECIPE, STEPS, Lab, eventually
from tests.e2e.sky.users import Command, User, said_by

pytestmark = [pytest.mark.timeout(3600)]
ENDS_WITHIN_S = 1500.0
LONG_STEPS = 1200
LONG = f"trainer.steps={LONG_STEPS}"  # trains for minutes
WARNED_S = 90.0  # less than AWS gives, since a fast machine trains a thousand steps in those
SHORT = "trainer.steps=200"
KILL_SEEDS = int(os.environ.get("KILL_SEEDS", "1"))  # of KILLS moments each
KILLS = 3
UNTRAINED = {key: value for key, value in RECIPE.items() if key != "trainer"}


def begun(lab: Lab, user: User, *changes: str) -> Command:
    return user.launch("train", str(lab.recipe(user.folder)), *changes, "-y", "-n", lab.run)


def finished(lab: Lab, command: Command, *, at_once: int = 1) -> None:
    assert command.ends(ENDS_WITHIN_S) == 0, command.told
    assert lab.state().phase is Phase.SUCCEEDED
    assert lab.living() == []
    assert lab.most_at_once() <= at_once, lab.log()


# --- somebody else ------------------------------------------------------------------------------------------------------------


def test_a_run_is_taken_over_from_another_home_while_its_machine_trains(lab: Lab, user: User, colleague: User) -> None:
    first = begun(lab, user, LONG)
    eventually(lambda: lab.has_saved(1))
    first.kill()
    user.kill_server()
    finished(lab, colleague.launch("resume", lab.url))
    assert len(lab.asked_for()) == 1


def test_a_run_is_taken_over_from_another_home_while_its_machine_is_launched(lab: Lab, user: User, colleague: User) -> None:
    first = begun(lab, user, SHORT)
    eventually(lab.living)
    first.kill()
    finished(lab, colleague.launch("resume", lab.url))
    assert len(lab.asked_for()) == 1


def test_a_run_is_taken_over_from_another_home_before_its_machine_shows(lab: Lab, user: User, colleague: User) -> None:
    """The first one's SkyPilot goes on without him, and nobody else can ask it."""
    lab.delay(45.0)
    before = user.launches()
    first = begun(lab, user, SHORT)
    eventually(lambda: user.launches() > before)
    first.kill()
    assert lab.asked_for() == {}
    finished(lab, colleague.launch("resume", lab.url))
    assert len(lab.asked_for()) == 1


# --- the machine ---------------------------------------------------------------------------------------------------------------


def test_a_machine_on_which_nothing_of_ours_is_makes_its_agents_environment(lab: Lab, user: User) -> None:
    """As every machine of a real cloud does; elsewhere here an interpreter with all it needs is named, for speed."""
    makes_its_agents_environment(lab, user)


def makes_its_agents_environment(lab: Lab, user: User, **resources: Any) -> None:
    recipe = user.folder / "run.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(json.dumps({**UNTRAINED, "run": "command -v python3; echo done"} | resources))
    plain = {name: value for name, value in user.environment.items() if name != "LAUNCH_AGENT_PYTHON"}
    command = replace(user, environment=plain).launch("train", str(recipe), "-y", "-n", lab.run)
    finished(lab, command)
    printed = b"".join(data for name, data in lab.objects().items() if "/log/" in name).decode()
    assert "done" in printed
    assert ".launch" not in printed, "the program runs in the environment of its user"


def test_a_run_whose_machines_cannot_get_what_an_agent_needs_pauses_soon_and_says_what_is_missing(lab: Lab, user: User) -> None:
    """Its trainer wants what instances here have no index for."""
    plain = {name: value for name, value in user.environment.items() if name != "LAUNCH_AGENT_PYTHON"}
    command = begun(lab, replace(user, environment=plain))
    assert command.ends(ENDS_WITHIN_S) == 5, command.told
    assert "3 machines in a row came up and none of their agents spoke" in command.told
    assert "requirements are unsatisfiable" in command.told, "as the machine's installer says"
    assert lab.living() == []
    ends = [attempt.end for attempt in lab.state().attempts.values()]
    assert {end.cause for end in ends if end} == {EndCause.EXITED}, "none idled until its autodown"


# --- the supervisor -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(KILL_SEEDS))
def test_a_supervisor_killed_again_and_again_loses_nothing(
    seed: int, lab: Lab, user: User, uninterrupted: Callable[[int], Reference]
) -> None:
    """In a launch that is under way, and wherever chance will have it; the market takes the first machine besides."""
    chance = random.Random(seed)

    def killed(command: Command, most_s: float) -> Command:
        time.sleep(chance.uniform(0.0, most_s))
        print(f"killed while {lab.whereabouts()}")
        command.kill()
        return user.launch("resume", lab.run)

    command = begun(lab, user)
    eventually(lab.living)
    command = killed(command, 10.0)
    eventually(lambda: lab.has_saved(1))
    (machine,) = lab.living()
    lab.preempt(machine)
    for _ in range(KILLS - 1):
        command = killed(command, 40.0)
    finished(lab, command)
    assert len(lab.asked_for()) == 2
    lab.prove(lab.state(), uninterrupted(STEPS))


def test_a_launch_that_died_with_its_supervisor_and_its_server_is_taken_up_again(lab: Lab, user: User) -> None:
    first = begun(lab, user, SHORT)
    eventually(lab.living)
    first.kill()
    user.kill_server()
    finished(lab, user.launch("resume", lab.run))
    assert len(lab.asked_for()) == 1


def test_a_server_killed_in_a_launch_costs_no_machine(lab: Lab, user: User) -> None:
    command = begun(lab, user, SHORT)
    eventually(lab.living)
    time.sleep(3)  # into the set-up of the machine
    user.kill_server()
    finished(lab, command)
    assert len(lab.asked_for()) == 1


def test_without_its_supervisor_a_machine_saves_and_goes(lab: Lab, user: User) -> None:
    command = begun(lab, user, "trainer.steps=100000", "autostop=1m")
    eventually(lambda: lab.has_saved(1))
    command.kill()
    eventually(lambda: "attempts/0001/exit.json" in lab.object_keys())
    exited = time.time()
    eventually(lambda: not lab.living(), within_s=Tempo().autodown_max)
    eventually(lab.ended)
    print(f"gone {time.time() - exited:.0f} s after the agent's exit")
    checked = user.launch("ckpt", "verify", lab.run)
    assert checked.ends(60.0) == 0, checked.told
    stopped = user.launch("stop", lab.run)
    assert stopped.ends(ENDS_WITHIN_S) in (0, 130), stopped.told
    ((began, ended),) = lab.lives()
    (attempt,) = lab.state().attempts.values()
    # EC2 tells an end in whole seconds, and a machine of the lab is down a moment after that.
    assert (ended - began - 2.0) * attempt.offer.price / HOUR <= spent(lab.state(), time.time()).high


def test_the_machine_of_a_programs_failure_stays_for_a_look_and_goes_when_told(lab: Lab, user: User) -> None:
    recipe = user.folder / "failing.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(json.dumps({**UNTRAINED, "run": "echo alas > ~/said; exit 9"}))
    command = user.launch("train", str(recipe), "retry.error=0", "--keep-failed", "30m", "-y", "-n", lab.run)
    eventually(lambda: "kept: the machine of attempt 1 for " in user.answer("status", lab.run))
    program, cluster = json.loads(user.answer("ssh", lab.run, "--dry-run", "-o", "json"))["command"]
    assert program == "ssh"
    assert said_by(user.home, cluster, "cat ~/said", user.folder).splitlines()[0] == "alas"
    (machine,) = lab.living()
    assert command.process.poll() is None, "somebody must see its bill end"
    assert user.launch("stop", lab.run).ends(ENDS_WITHIN_S) in (0, 1)
    assert command.ends(ENDS_WITHIN_S) == 1, command.told
    assert lab.living() == []
    assert lab.asked_for().keys() == {machine["id"]}


# --- the market ---------------------------------------------------------------------------------------------------------------

EVERYWHERE = ("us-east-1", "us-east-2", "us-west-2")


@pytest.mark.parametrize(
    ("limit", "exit_code", "remedy"),
    [
        ("VcpuLimitExceeded", 5, "quota"),
        ("UnauthorizedOperation", 5, "launch doctor"),
        ("AuthFailure", 5, "credentials"),
        ("InvalidParameterValue", 2, "resources"),
        (0, 3, "retry.capacity"),
    ],
)
def test_a_refusal_ends_a_run_with_its_exit_code_and_what_helps(
    limit: str | int, exit_code: int, remedy: str, lab: Lab, user: User
) -> None:
    lab.capacity(dict.fromkeys(EVERYWHERE, limit))
    command = begun(lab, user, "retry.capacity=30s")
    assert command.ends(ENDS_WITHIN_S) == exit_code, command.told
    print(command.told)
    assert remedy in command.told
    assert lab.living() == []
    assert lab.asked_for() == {}


@pytest.mark.parametrize("wish", ["resources.accelerators=[Z9000:1]", "resources.instance_type=g9.huge"])
def test_what_no_list_has_is_refused_before_anything_is_made(wish: str, lab: Lab, user: User) -> None:
    command = begun(lab, user, wish)
    assert command.ends(60.0) == 2, command.told
    assert "launch prices" in command.told
    assert lab.object_keys() == []


def test_an_instance_that_skypilot_has_never_heard_of_ends_a_run(lab: Lab, user: User) -> None:
    lists = user.folder / "lists/aws/vms.csv"
    lists.parent.mkdir(parents=True)
    lists.write_text((user.home / ".sky/catalogs/v8/aws/vms.csv").read_text().replace("g6.xlarge", "g9.huge"))
    misled = replace(user, environment={**user.environment, "LAUNCH_CATALOG": str(lists.parents[1])})
    command = begun(lab, misled)
    assert command.ends(ENDS_WITHIN_S) == 2, command.told
    assert "g9.huge" in command.told
    assert lab.asked_for() == {}


def test_a_run_finds_the_only_zone_that_has_a_machine(lab: Lab, user: User) -> None:
    lab.capacity({"us-east-1": 0, "us-east-2": 0, "us-west-2a": 0})
    finished(lab, begun(lab, user, SHORT))
    assert [found["zone"] for found in lab.of_the_run()] == ["us-west-2b"]


def test_a_run_that_is_warned_asks_for_another_machine_before_its_own_is_taken(
    lab: Lab, user: User, uninterrupted: Callable[[int], Reference]
) -> None:
    command = begun(lab, user, LONG)
    eventually(lambda: lab.has_saved(1))
    (machine,) = lab.living()
    lab.warn(machine, WARNED_S)
    finished(lab, command, at_once=2)
    print(f"asked for another {-lab.searched_s():.1f} s before the end of the first, load {os.getloadavg()[0]:.0f}")
    first, second = lab.state().attempts.values()
    assert first.end is not None
    assert first.end.end is EndKind.PREEMPTED
    assert first.num_notices == 1
    assert second.requested_at < first.end.at
    assert second.offer.placement.place != first.offer.placement.place
    assert second.parent == first.commit, "the last save was made before the end"
    assert any(" notice is over " in line and machine["id"] in line for line in lab.log()), "we left the end to the market"
    lab.prove(lab.state(), uninterrupted(LONG_STEPS))


def test_a_run_outlives_its_region(lab: Lab, user: User) -> None:
    command = begun(lab, user)
    eventually(lambda: lab.has_saved(1))
    (machine,) = lab.living()
    lab.capacity({machine["region"]: 0})
    lab.preempt(machine)
    finished(lab, command)
    assert {found["region"] for found in lab.of_the_run()} > {machine["region"]}
    print(f"asked for another {lab.searched_s():.1f} s after the end of the first, load {os.getloadavg()[0]:.0f}")
