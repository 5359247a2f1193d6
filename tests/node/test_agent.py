"""Agents as real processes: what they do at each turn of an attempt."""

import hashlib
import io
import json
import shlex
import signal
import tarfile

import pytest

from launcher import codec, processes
from launcher.core.contract import (
    PROGRESS_FILE,
    AgentPhase,
    Claim,
    CommandProgram,
    ExitKind,
    TrainerProgram,
    TrainerProgress,
    claim_key,
)
from launcher.core.run.events import RecordVoided, StopAtMoved
from tests.node.rig import START, Rig, eventually

FOREVER = "touch started; while :; do sleep 0.05; done"
SAVES_AT_TERM = """trap 'echo saved > "$LAUNCH_CHECKPOINT_DIR/last"; exit 0' TERM; touch started; while :; do sleep 0.05; done"""


def test_program_runs_only_after_the_grant_and_its_end_is_reported(rig: Rig) -> None:
    agent = rig.start(rig.spec("echo hello > done; echo printed"))
    waiting = eventually(agent.heartbeat, "a heartbeat")
    assert waiting.phase is AgentPhase.WAITING
    assert not (agent.root / "code/done").exists()
    rig.grant()
    report = agent.report()
    assert (report.outcome, report.exit_code) == (ExitKind.FINISHED, 0)
    assert agent.file("done") == "hello\n"
    assert "printed" in agent.log()
    assert agent.exit_code() == 0
    assert report.last.sequence > waiting.sequence


def test_of_two_agents_one_is_the_attempt_and_the_other_writes_nothing(rig: Rig) -> None:
    agents = [rig.start(rig.spec("true"), name=f"machine{i}-") for i in range(3)]
    rig.grant()
    agents[0].report()
    assert [agent.exit_code() for agent in agents] == [0, 0, 0]
    claim = rig.read(Claim, claim_key(1))
    assert claim is not None
    winner = next(agent for agent in agents if agent.process.pid == claim.pid)
    assert winner.report().nonce == claim.nonce
    assert [agent for agent in agents if (agent.root / "code").exists()] == [winner]


def test_program_sees_the_contract(rig: Rig) -> None:
    spec = rig.spec('env | grep "^LAUNCH_\\|^MODEL" > seen', envs={"MODEL": "m"}, data={"train": "file:///d"})
    agent = rig.start(spec)
    rig.grant()
    agent.report()
    seen = dict(line.split("=", 1) for line in agent.file("seen").splitlines())
    assert seen["LAUNCH_RUN_ID"] == "r"
    assert seen["LAUNCH_ATTEMPT"] == "1"
    assert seen["LAUNCH_CHECKPOINT_DIR"] == str(agent.checkpoint)
    assert seen["LAUNCH_RESUME_STEP"] == "0"
    assert seen["LAUNCH_DATA_TRAIN"] == "file:///d"
    assert seen["LAUNCH_PARENT"] == ""
    assert seen["LAUNCH_GRANT"] == "2"
    assert seen["MODEL"] == "m"


def test_secrets_come_in_a_file_that_is_gone_once_it_was_read(rig: Rig) -> None:
    path = rig.folder / "secrets.json"
    path.write_text(json.dumps({"TOKEN": "hunter2-and-more"}))
    agent = rig.start(rig.spec('echo "it is $TOKEN"; env > seen', secrets=("TOKEN",)), LAUNCH_SECRETS=str(path))
    rig.grant()
    assert agent.report().outcome is ExitKind.FINISHED
    assert not path.exists()
    assert "TOKEN=hunter2-and-more\n" in agent.file("seen")
    assert "LAUNCH_SECRETS" not in agent.file("seen")
    assert "it is [TOKEN]" in agent.log()


def test_an_end_that_quotes_a_secret_is_reported_without_it(rig: Rig) -> None:
    said = codec.dumps(TrainerProgress(outcome=ExitKind.PROGRAM_FAILED, reason="no model for hunter2-and-more")).decode()
    command = f"echo {shlex.quote(said)} > $LAUNCH_TRAINER_DIR/{PROGRESS_FILE}; exit 1"
    agent = rig.start(rig.spec(command, secrets=("TOKEN",)), TOKEN="hunter2-and-more")
    rig.grant()
    assert agent.report().reason == "no model for ***"


def test_an_agent_whose_secrets_another_has_taken_leaves_the_attempt_to_that_one(rig: Rig) -> None:
    agent = rig.start(rig.spec("true", secrets=("TOKEN",)), LAUNCH_SECRETS=str(rig.folder / "gone.json"))
    assert agent.exit_code() == 2
    assert rig.read(Claim, claim_key(1)) is None


def test_program_runs_in_the_frozen_code_after_setup(rig: Rig) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("pkg/hello.sh")
        member.size = len(b"cat made > said\n")
        tar.addfile(member, io.BytesIO(b"cat made > said\n"))
    code = f"code/{hashlib.sha256(packed.getvalue()).hexdigest()}.tar"
    rig.store.create(code, packed.getvalue())
    program = CommandProgram(setup="echo by setup > made", command="bash pkg/hello.sh")
    agent = rig.start(rig.spec("", program=program, code=code))
    rig.grant()
    assert agent.report().outcome is ExitKind.FINISHED
    assert agent.file("said") == "by setup\n"


def test_missing_code_is_the_stores_fault(rig: Rig) -> None:
    agent = rig.start(rig.spec("true", code="code/none.tar"))
    assert agent.report().outcome is ExitKind.STORE_FAILED


def test_program_failure_is_reported_with_its_code(rig: Rig) -> None:
    agent = rig.start(rig.spec("exit 3"))
    rig.grant()
    report = agent.report()
    assert (report.outcome, report.exit_code) == (ExitKind.PROGRAM_FAILED, 3)


def test_foreign_signal_is_no_program_failure(rig: Rig) -> None:
    agent = rig.start(rig.spec("kill -9 $$"))
    rig.grant()
    report = agent.report()
    assert (report.outcome, report.signal) == (ExitKind.KILLED, 9)


def test_failed_setup_ends_the_attempt_without_a_grant(rig: Rig) -> None:
    program = CommandProgram(setup="echo no; pyp install x", command="touch started")
    agent = rig.start(rig.spec("", program=program))
    report = agent.report()
    assert (report.outcome, report.exit_code) == (ExitKind.SETUP_FAILED, 127)
    assert report.reason == "`setup` exited with code 127: its command was not found"
    assert not (agent.root / "code/started").exists()


def test_a_failed_machine_is_kept_for_a_look_until_it_is_told_to_end(rig: Rig) -> None:
    agent = rig.start(rig.spec("exit 3", keep_failed=1e9))
    rig.grant()
    assert agent.report().outcome is ExitKind.PROGRAM_FAILED
    assert agent.process.poll() is None, "it stays, so that no cloud takes the machine for idle"
    agent.process.send_signal(signal.SIGTERM)
    assert agent.exit_code() == 0


def test_a_failed_machine_is_kept_no_longer_than_its_budget_pays(rig: Rig) -> None:
    agent = rig.start(rig.spec("exit 3", keep_failed=1e9, stop_at=START + 4.0 * 100))
    rig.grant()
    assert agent.exit_code() == 0


def test_a_machine_whose_program_finished_is_not_kept(rig: Rig) -> None:
    agent = rig.start(rig.spec("true", keep_failed=1e9))
    rig.grant()
    assert agent.exit_code() == 0
    assert agent.report().outcome is ExitKind.FINISHED


def test_unwanted_attempt_saves_and_exits(rig: Rig) -> None:
    agent = rig.start(rig.spec(SAVES_AT_TERM))
    rig.grant()
    agent.has_started()
    rig.dismiss()
    report = agent.report()
    assert (report.outcome, report.exit_code) == (ExitKind.DRAINED, 0)
    assert "not needed any more" in report.reason
    assert agent.exit_code() == 0
    manifest = rig.commit(1, 1)
    assert manifest is not None
    assert [file.path for file in manifest.files] == ["last"]
    assert manifest.urgent


def test_cancelled_attempt_ends_at_once_and_publishes_nothing(rig: Rig) -> None:
    agent = rig.start(rig.spec(SAVES_AT_TERM))
    rig.grant()
    agent.has_started()
    rig.dismiss(drain=False)
    report = agent.report()
    assert (report.outcome, report.signal) == (ExitKind.DRAINED, 9)
    assert rig.commit(1, 1) is None


def test_voided_grant_takes_the_right_to_write(rig: Rig) -> None:
    agent = rig.start(rig.spec(FOREVER))
    rig.grant()
    agent.has_started()
    rig.append(RecordVoided(at=START, numbers=(2,), digests=("",)))
    assert agent.report().outcome is ExitKind.SEALED


def test_grant_of_a_later_attempt_takes_the_right_to_write(rig: Rig) -> None:
    agent = rig.start(rig.spec(FOREVER))
    rig.grant()
    agent.has_started()
    rig.grant(attempt=2)
    assert agent.report().outcome is ExitKind.SEALED


def test_attempt_without_a_grant_gives_up(rig: Rig) -> None:
    agent = rig.start(rig.spec("touch started", grant_wait=0.5 * 100))
    report = agent.report()
    assert report.outcome is ExitKind.DRAINED
    assert "no grant" in report.reason
    assert agent.exit_code() == 0


def test_attempt_ends_where_its_budget_does(rig: Rig) -> None:
    agent = rig.start(rig.spec(SAVES_AT_TERM, stop_at=START + 2.0 * 100))
    rig.grant()
    report = agent.report()
    assert report.outcome is ExitKind.DRAINED
    assert "stop_at" in report.reason
    assert agent.exit_code() == 0


def test_attempt_ends_where_its_budget_does_by_the_newest_word(rig: Rig) -> None:
    agent = rig.start(rig.spec(SAVES_AT_TERM, stop_at=START + 1e6))
    rig.append(StopAtMoved(at=START, attempt=1, stop_at=START + 2.0 * 100))
    rig.grant()
    report = agent.report()
    assert report.outcome is ExitKind.DRAINED
    assert "stop_at" in report.reason


def test_notice_reaches_the_program_then_it_saves_and_the_agent_stays_until_killed(rig: Rig) -> None:
    agent = rig.start(rig.spec('cp "$LAUNCH_NOTICE_FILE" left 2>/dev/null; ' + SAVES_AT_TERM))
    rig.grant()
    agent.has_started()
    agent.give_notice(left_real_s=100.0)
    assert agent.notice(1).source == "test"
    notice_file = agent.root / "notice"
    assert 0 < float(eventually(lambda: notice_file.exists() and notice_file.read_text(), "the notice file")) <= 100.0
    agent.give_notice(left_real_s=4.0)
    report = agent.report()
    assert report.outcome is ExitKind.DRAINED
    assert rig.commit(1, 1) is not None
    assert agent.process.poll() is None, "it lingers: the end of the machine is the cloud's"
    agent.process.send_signal(signal.SIGTERM)
    assert agent.exit_code() == 0


def test_withdrawn_notice_changes_nothing(rig: Rig) -> None:
    agent = rig.start(rig.spec(FOREVER))
    rig.grant()
    agent.has_started()
    agent.give_notice(left_real_s=60.0)
    agent.notice(1)
    agent.notice_source.unlink()
    assert agent.notice(2).withdrawn
    assert not (agent.root / "notice").exists()
    beat = eventually(agent.heartbeat, "a heartbeat")
    assert beat.phase is AgentPhase.TRAINING


def test_sigterm_to_the_agent_saves_at_once_and_ends_it(rig: Rig) -> None:
    agent = rig.start(rig.spec(SAVES_AT_TERM))
    rig.grant()
    agent.has_started()
    agent.process.send_signal(signal.SIGTERM)
    assert agent.report().outcome is ExitKind.DRAINED
    assert agent.exit_code() == 0
    assert rig.commit(1, 1) is not None


@pytest.mark.parametrize("program", [SAVES_AT_TERM, FOREVER], ids=["exits with 0", "dies of it"])
def test_sigterm_to_all_of_a_machine_is_no_end_of_the_programs_own(rig: Rig, program: str) -> None:
    """So Slurm ends a job (scancel(1): the signal goes to all its processes), and systemd a machine that shuts down."""
    agent = rig.start(rig.spec(program))
    rig.grant()
    agent.has_started()
    for process in reversed(processes.marked("LAUNCH_INSTANCE_ID", agent.instance_id)):
        processes.send(process, signal.SIGTERM)
    report = agent.report()
    assert report.outcome is ExitKind.DRAINED
    assert "SIGTERM" in report.reason


def test_sigterm_to_all_of_a_machine_is_no_failure_of_setup(rig: Rig) -> None:
    spec = rig.spec("true", program=CommandProgram(setup="touch started; sleep 1000", command="true"))
    agent = rig.start(spec)
    agent.has_started()
    for process in reversed(processes.marked("LAUNCH_INSTANCE_ID", agent.instance_id)):
        processes.send(process, signal.SIGTERM)
    assert agent.report().outcome is ExitKind.DRAINED


def test_program_that_ignores_sigterm_is_killed_with_all_it_started(rig: Rig) -> None:
    ignores = "trap '' TERM; setsid sleep 1000 & touch started; while :; do sleep 0.05; done"
    agent = rig.start(rig.spec(ignores, kill_grace_real=0.3))
    rig.grant()
    agent.has_started()
    rig.dismiss()
    report = agent.report()
    assert (report.outcome, report.signal) == (ExitKind.DRAINED, 9)
    assert agent.exit_code() == 0
    assert processes.marked("LAUNCH_INSTANCE_ID", agent.instance_id) == ()


def test_program_dies_with_a_killed_agent(rig: Rig) -> None:
    agent = rig.start(rig.spec("echo $$ > started; exec sleep 1000"))
    rig.grant()
    program = processes.identify(int(agent.file("started")))
    assert program is not None
    agent.process.kill()
    eventually(lambda: not processes.is_alive(program), "the program is dead")


def test_trainer_module_runs_in_our_own_python(rig: Rig) -> None:
    agent = rig.start(rig.spec("", program=TrainerProgram(module="this", args={})))
    rig.grant()
    assert agent.report().outcome is ExitKind.FINISHED
    assert "Beautiful is better than ugly." in agent.log()


def test_trainer_that_stands_still_is_a_hang(rig: Rig) -> None:
    silent = """echo '{"step": 3}' > "$LAUNCH_TRAINER_DIR/progress.json"; while :; do sleep 0.05; done"""
    agent = rig.start(rig.spec(silent, hang_min_real=0.5))
    rig.grant()
    report = agent.report()
    assert (report.outcome, report.hang) == (ExitKind.PROGRAM_FAILED, True)
    assert "step 3" in report.reason


def test_failing_saves_end_the_attempt_as_the_stores_fault(rig: Rig) -> None:
    fails = """echo '{"step": 3, "failed_saves": 3, "warnings": ["disk full"]}' > "$LAUNCH_TRAINER_DIR/progress.json"; """
    agent = rig.start(rig.spec(fails + FOREVER))
    rig.grant()
    report = agent.report()
    assert report.outcome is ExitKind.STORE_FAILED
    assert "disk full" in report.reason


@pytest.mark.parametrize("outcome", [ExitKind.NOTHING_VALID, ExitKind.SEALED])
def test_trainer_that_says_how_it_ended_is_believed(rig: Rig, outcome: ExitKind) -> None:
    says = f'{{"step": 7, "outcome": "{outcome.value}", "reason": "so it is"}}'
    agent = rig.start(rig.spec(f"""echo '{says}' > "$LAUNCH_TRAINER_DIR/progress.json"; exit 1"""))
    rig.grant()
    report = agent.report()
    assert (report.outcome, report.reason, report.last.step) == (outcome, "so it is", 7)


@pytest.mark.parametrize("grace", ["soon", "nan", "-1", "inf"])
def test_a_grace_that_is_no_number_of_seconds_is_refused_before_the_claim(rig: Rig, grace: str) -> None:
    agent = rig.start(rig.spec("true"), LAUNCH_NOTICE_SOURCE="", LAUNCH_TERM_GRACE_S=grace)
    assert agent.exit_code() == 2
    assert rig.read(Claim, claim_key(1)) is None
