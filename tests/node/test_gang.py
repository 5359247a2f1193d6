"""A gang: an agent on each of an attempt's machines, of which node 0 alone is the attempt."""

import shlex
import socket
import sys
from pathlib import Path

from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import AgentPhase, CommandProgram, ExitKind, attempt_prefix
from launcher.core.instance import EndCause
from launcher.core.run.events import AttemptLost
from tests.node.rig import SPEED, START, Agent, Rig, eventually

FOREVER = "touch started; while :; do sleep 0.05; done"
SAVES_AT_TERM = """trap 'echo saved > "$LAUNCH_CHECKPOINT_DIR/last"; exit 0' TERM; touch started; while :; do sleep 0.05; done"""
# As what trains over several machines does: without one of the others it fails.
NEEDS_NODE_1 = """
exec 9> ../../held
if [ "$SKYPILOT_NODE_RANK" = 1 ]; then flock 9; touch ../../holds started; while :; do sleep 0.05; done; fi
while [ ! -e ../../holds ]; do sleep 0.05; done
touch started
flock 9
exit 1
"""


WAITS = "while [ ! -e ../../go ]; do sleep 0.05; done"  # a node that starts late would find node 0 at its end


def go(rig: Rig) -> None:
    (rig.folder / "go").touch()


def gang_of(rig: Rig, command: str, **changes: object) -> list[Agent]:
    agents = rig.start_gang(rig.spec(command, num_nodes=2, **changes))
    rig.grant()
    return agents


def on_node(node: int, command: str, otherwise: str = FOREVER) -> str:
    return f'if [ "$SKYPILOT_NODE_RANK" = {node} ]; then {command}; fi\n{otherwise}'


def test_the_program_runs_on_each_node_once_node_0_is_granted_and_node_0_publishes(rig: Rig) -> None:
    writes = 'echo "$SKYPILOT_NODE_RANK of $SKYPILOT_NUM_NODES" | tee "$LAUNCH_CHECKPOINT_DIR/rank" > seen; '
    agents = rig.start_gang(rig.spec(writes + WAITS, num_nodes=2))
    for agent in agents:
        eventually(agent.heartbeat, "a heartbeat")
        assert not (agent.root / "code/seen").exists()
    rig.grant()
    assert [agent.file("seen") for agent in agents] == ["0 of 2\n", "1 of 2\n"]
    go(rig)
    assert [agent.report().outcome for agent in agents] == [ExitKind.FINISHED, ExitKind.FINISHED]
    manifest = rig.commit(1, 1)
    assert manifest is not None
    assert [(file.path, file.size) for file in manifest.files] == [("rank", len("0 of 2\n"))]
    assert rig.store.get(manifest.files[0].key) == b"0 of 2\n"
    assert rig.commit(1, 2) is None
    theirs = {meta.key.removeprefix(attempt_prefix(1, 1)).partition("/")[0] for meta in rig.store.list(attempt_prefix(1, 1))}
    assert theirs == {"claim.json", "heartbeat.json", "exit.json", "log"}


def test_of_two_agents_of_a_node_one_is_the_node(rig: Rig) -> None:
    spec = rig.spec("true", num_nodes=2)
    agents = [rig.start(spec, name=name, node=1) for name in ("one", "two")]
    rig.grant()
    assert [agent.exit_code() for agent in agents] == [0, 0]
    assert len([agent for agent in agents if (agent.root / "code").exists()]) == 1


def test_every_node_restores_the_same_files(rig: Rig) -> None:
    first = rig.start(rig.spec('echo 7 > "$LAUNCH_CHECKPOINT_DIR/step"'))
    rig.grant()
    first.report()
    reads = 'echo "$(cat "$LAUNCH_CHECKPOINT_DIR/step") at $LAUNCH_RESUME_STEP" > seen; '
    agents = rig.start_gang(rig.spec(reads + WAITS, attempt=2, num_nodes=2))
    rig.grant(attempt=2, parent=CommitRef(1, 1))
    assert [agent.file("seen") for agent in agents] == ["7 at 1\n", "7 at 1\n"]


def test_a_program_that_fails_on_any_node_ends_the_attempt(rig: Rig) -> None:
    first, second = gang_of(rig, on_node(1, "exit 3"))
    assert second.report().outcome is ExitKind.PROGRAM_FAILED
    report = first.report()
    assert report.outcome is ExitKind.PROGRAM_FAILED
    assert report.reason == "node 1: the program exited with code 3"


def test_a_setup_that_fails_on_any_node_ends_the_attempt_before_its_grant(rig: Rig) -> None:
    setup = '[ "$SKYPILOT_NODE_RANK" = 0 ]'
    agents = rig.start_gang(rig.spec("", program=CommandProgram(setup=setup, command="true"), num_nodes=2))
    report = agents[0].report()
    assert (report.outcome, report.reason) == (ExitKind.SETUP_FAILED, "node 1: `setup` exited with code 1")


def test_a_program_that_fails_for_want_of_a_lost_node_is_no_failure_of_its_own(rig: Rig) -> None:
    first, second = gang_of(rig, NEEDS_NODE_1)
    second.has_started()
    first.has_started()
    second.kill()
    report = first.report()
    assert report.outcome is ExitKind.NODE_LOST
    assert report.reason == "node 1 is taken to be lost: no word after the program failed"


def test_a_program_that_fails_while_all_nodes_live_has_failed(rig: Rig) -> None:
    # At a twentieth of the speed the other has eight seconds for a word, which takes it two: on a busy machine one is too few.
    first, second = gang_of(rig, on_node(0, f"{WAITS}; exit 4"), speed=SPEED / 20)
    second.has_started()  # one that has not come up yet has no word to say
    go(rig)
    report = first.report()
    assert (report.outcome, report.exit_code) == (ExitKind.PROGRAM_FAILED, 4)


def test_a_gang_that_waits_for_a_lost_node_ends(rig: Rig) -> None:
    first, second = gang_of(rig, FOREVER)
    second.has_started()
    second.kill()
    report = first.report()
    assert report.outcome is ExitKind.NODE_LOST
    assert "node 1 is taken to be lost: no heartbeat for" in report.reason


def test_the_others_end_without_node_0(rig: Rig) -> None:
    first, second = gang_of(rig, FOREVER)
    second.has_started()
    first.kill()
    assert second.report().outcome is ExitKind.NODE_LOST
    assert second.exit_code() == 0


def test_the_others_end_as_soon_as_node_0_saves_for_the_last_time(rig: Rig) -> None:
    first, second = gang_of(rig, on_node(0, SAVES_AT_TERM), kill_grace_real=5.0)
    first.has_started()
    second.has_started()
    rig.dismiss()
    assert first.report().outcome is ExitKind.DRAINED
    assert second.report().outcome is ExitKind.DRAINED
    assert rig.commit(1, 1) is not None


def test_what_is_left_of_a_gang_that_is_given_up_for_lost_saves_and_ends_for_want_of_the_others(rig: Rig) -> None:
    agents = gang_of(rig, SAVES_AT_TERM)
    for agent in agents:
        agent.has_started()
    rig.append(AttemptLost(at=START, attempt=1, cause=EndCause.UNTOLD, evidence="a machine is gone", heartbeat=None))
    report = agents[0].report()
    assert report.outcome is ExitKind.NODE_LOST
    # Node 0 reads the journal or, where node 1 was quicker at that and at its end, node 1's report of the same.
    assert report.reason.removeprefix("node 1: ") == "given up for lost: a machine is gone"
    assert rig.commit(1, 1) is not None


def test_a_notice_to_any_node_is_a_notice_to_the_gang(rig: Rig) -> None:
    first, second = gang_of(rig, SAVES_AT_TERM)
    first.has_started()
    second.has_started()
    second.give_notice(left_real_s=60.0)
    told = first.notice(1)
    assert (told.source, told.withdrawn) == ("test", False)
    eventually((first.root / "notice").exists, "the program of node 0 sees it")
    second.notice_source.unlink()
    assert first.notice(2).withdrawn
    second.give_notice(left_real_s=4.0)
    assert first.notice(3).ends_at == second.notice(3).ends_at
    assert first.report().outcome is ExitKind.DRAINED
    assert rig.commit(1, 1) is not None
    assert second.report().outcome is ExitKind.DRAINED


def test_a_node_that_is_told_to_end_ends_the_gang(rig: Rig) -> None:
    first, second = gang_of(rig, SAVES_AT_TERM)
    first.has_started()
    second.has_started()
    second.process.terminate()
    report = first.report()
    assert report.outcome is ExitKind.DRAINED
    assert rig.commit(1, 1) is not None


TRAINS = """
import os, sys, time
from pathlib import Path
import torch, torch.distributed as dist

dist.init_process_group("gloo")
path = Path(os.environ["LAUNCH_CHECKPOINT_DIR"], "state.pt")
state = torch.load(path) if path.exists() else {"step": 0, "sum": torch.zeros(1)}
for step in range(state["step"] + 1, int(sys.argv[1]) + 1):
    grad = torch.full((1,), float(step * (dist.get_rank() + 1)))
    dist.all_reduce(grad)
    state = {"step": step, "sum": state["sum"] + grad}
    if step % 20 == 0 and dist.get_rank() == 0:
        torch.save(state, path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)
    time.sleep(float(sys.argv[2]))
print("done", int(state["sum"]), "by", dist.get_world_size(), flush=True)
dist.destroy_process_group()
"""


def test_pytorch_over_two_machines_goes_on_from_the_newest_checkpoint_when_one_is_lost(rig: Rig, tmp_path: Path) -> None:
    """As torchrun would start it, which tests/e2e/sky does: here it would import PyTorch twice more on each machine."""
    script = tmp_path / "train.py"
    script.write_text(TRAINS)

    def command(steps: int, pause: float) -> str:
        return (
            "export RANK=$SKYPILOT_NODE_RANK WORLD_SIZE=$SKYPILOT_NUM_NODES\n"
            'export MASTER_ADDR="$(echo "$SKYPILOT_NODE_IPS" | head -n 1)"\n'
            f"MASTER_PORT={free_port()} {sys.executable} {shlex.quote(str(script))} {steps} {pause}"
        )

    first, second = gang_of(rig, command(10_000, 0.05))
    eventually(lambda: rig.commit(1, 1), "a checkpoint")
    second.kill()
    report = first.report()
    assert report.outcome is ExitKind.NODE_LOST
    newest = max(n for n in range(1, 100) if rig.commit(1, n) is not None)
    rig.grant(attempt=2, parent=CommitRef(1, newest))
    agents = rig.start_gang(rig.spec(command(200, 0.0), attempt=2, num_nodes=2))
    assert [agent.report().outcome for agent in agents] == [ExitKind.FINISHED, ExitKind.FINISHED]
    assert f"done {3 * 200 * 201 // 2} by 2" in agents[0].log()
    beat = eventually(agents[0].heartbeat, "a heartbeat")
    assert (beat.phase, beat.restored) == (AgentPhase.DRAINING, CommitRef(1, newest))


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port
