"""The folder of an unmodified program: what is published and when, and how it comes back."""

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.adapters import retry
from launcher.adapters.store.base import Chunks
from launcher.adapters.store.memory import MemoryStore
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import CommitRef, Manifest, Sealed
from launcher.core.contract import AttemptSpec, CommandProgram, ExitKind, commit_key
from launcher.errors import StoreUnknown
from launcher.node import look, publish
from launcher.node.orders import Grant
from launcher.node.workspace import Workspace
from tests.node.rig import PLACEMENT, Agent, Rig, eventually

PROGRAM = CommandProgram(setup=None, command="true")

# Writes step files as an unaware script would, resuming from the newest; ends at step 3.
COUNTS = """
cd "$LAUNCH_CHECKPOINT_DIR"
step=$(cat step 2>/dev/null || echo 0)
echo "$LAUNCH_RESUME_STEP $step" >> "$OLDPWD/resumed"
while [ $step -lt 3 ]; do
  step=$((step + 1)); echo $step > step
  while [ ! -e "$OLDPWD/go$step" ]; do sleep 0.05; done
done
"""


def commit(rig: Rig, attempt: int, number: int) -> Manifest:
    return eventually(lambda: rig.commit(attempt, number), f"commit {number} of attempt {attempt}")


def contents(rig: Rig, manifest: Manifest) -> dict[str, bytes]:
    return {file.path: rig.store.get(file.key) for file in manifest.files}


def test_folder_is_published_while_the_program_runs_and_restored_after_a_kill(rig: Rig) -> None:
    first = rig.start(rig.spec(COUNTS))
    rig.grant()
    assert contents(rig, commit(rig, 1, 1)) == {"step": b"1\n"}
    (first.root / "code/go1").touch()
    second_commit = commit(rig, 1, 2)
    assert (second_commit.step, second_commit.parent) == (2, CommitRef(1, 1))
    first.kill()

    second = rig.start(rig.spec(COUNTS, attempt=2))
    rig.grant(attempt=2, parent=CommitRef(1, 2))
    assert second.file("resumed") == "2 2\n"
    (second.root / "code/go3").touch()
    report = second.report()
    assert report.outcome is ExitKind.FINISHED
    assert (report.last.restored, report.last.restored_step) == (CommitRef(1, 2), 2)
    last = commit(rig, 2, 1)
    assert (last.step, last.parent, last.finished) == (3, CommitRef(1, 2), True)
    assert contents(rig, last) == {"step": b"3\n"}


def test_nothing_is_published_while_any_file_is_held_open_for_writing(rig: Rig) -> None:
    holds = """
    echo whole > "$LAUNCH_CHECKPOINT_DIR/a"
    exec 5>> "$LAUNCH_CHECKPOINT_DIR/log"; echo begun >&5
    sleep 5; touch started; while [ ! -e go ]; do sleep 0.05; done
    exec 5>&-; sleep 1000
    """
    agent = rig.start(rig.spec(holds))
    rig.grant()
    agent.has_started()
    assert rig.commit(1, 1) is None
    (agent.root / "code/go").touch()
    assert set(contents(rig, commit(rig, 1, 1))) == {"a", "log"}


def test_after_a_kill_only_what_was_whole_before_counts(rig: Rig) -> None:
    torn = """
    cd "$LAUNCH_CHECKPOINT_DIR"; echo whole > a
    while [ ! -e "$OLDPWD/go" ]; do sleep 0.05; done
    exec 5> b; echo half >&5; kill -9 $$
    """
    agent = rig.start(rig.spec(torn))
    rig.grant()
    commit(rig, 1, 1)
    (agent.root / "code/go").touch()
    assert agent.report().outcome is ExitKind.KILLED
    assert rig.commit(1, 2) is None


@pytest.mark.parametrize(("ends", "last"), [("exit 3", {"a", "final"}), ("kill -9 $$", {"a"})])
def test_last_files_of_a_program_that_exits_in_failure_are_kept(rig: Rig, ends: str, last: set[str]) -> None:
    fails = f"""
    cd "$LAUNCH_CHECKPOINT_DIR"; echo 1 > a
    while [ ! -e "$OLDPWD/go" ]; do sleep 0.05; done
    echo 2 > final; {ends}
    """
    agent = rig.start(rig.spec(fails))
    rig.grant()
    commit(rig, 1, 1)
    (agent.root / "code/go").touch()
    agent.report()
    newest = rig.commit(1, 2) or commit(rig, 1, 1)
    assert set(contents(rig, newest)) == last


# Saves every few hundredths of a second until it is let go, and never rests: no two looks see the same.
RESTLESS = """
import os, sys, time
folder = os.environ["LAUNCH_CHECKPOINT_DIR"]
how, n = sys.argv[1], 0
def put(name, text):
    if how == "in place":
        open(f"{folder}/{name}", "r+" if os.path.exists(f"{folder}/{name}") else "w").write(text)
    else:
        open(f"../{name}.aside", "w").write(text)
        os.replace(f"../{name}.aside", f"{folder}/{name}")
while not os.path.exists("go"):
    n += 1
    put("weights", str(n) * 1000)
    if how == "two":
        put("optimizer", str(n) * 1000)
    time.sleep(0.03)
os._exit(0)
"""


def restless(rig: Rig, how: str) -> Agent:
    agent = rig.start(rig.spec(f"cat > p.py <<'END'\n{RESTLESS}\nEND\nexec {sys.executable} -u p.py '{how}'"))
    rig.grant()
    return agent


def test_program_that_replaces_one_file_without_pause_is_published_and_each_time_whole(rig: Rig) -> None:
    agent = restless(rig, "one")
    found = [contents(rig, commit(rig, 1, number))["weights"] for number in (1, 2)]
    agent.kill()
    numbers = [weights[: len(weights) // 1000].decode() for weights in found]
    assert [weights.decode() for weights in found] == [number * 1000 for number in numbers]
    assert int(numbers[0]) < int(numbers[1])


@pytest.mark.parametrize(("how", "culprit"), [("in place", "weights"), ("two", "optimizer and 1 more")])
def test_program_that_writes_in_place_or_two_files_without_pause_is_not_published_and_told_why(
    rig: Rig, how: str, culprit: str
) -> None:
    agent = restless(rig, how)
    warned = eventually(lambda: (beat := agent.heartbeat()) and beat.warnings, "a warning")
    assert rig.commit(1, 1) is None
    agent.kill()
    assert f": {culprit} kept changing" in warned[0]
    assert "rename" in warned[0]


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> publish.Publisher:
    """One in this process, of a folder with one file, that looks often and whose commits are not patient."""
    monkeypatch.setattr(publish, "PUBLISH_LOOKS_S", 0.01)
    monkeypatch.setattr(look, "PUBLISH_LOOKS_S", 0.01)
    monkeypatch.setattr(publish, "_AFTER_FAILURE_S", 0.0)
    monkeypatch.setattr(retry, "store_calls", lambda: lambda work, *args: work(*args))
    place = Workspace(root=tmp_path)
    place.make()
    (place.checkpoint / "a").write_text("x")
    spec = AttemptSpec(run="r", incarnation="i1", attempt=1, store="memory://", placement=PLACEMENT, program=PROGRAM)
    made = publish.Publisher(AwayStore(), spec, place, "nonce")
    made.restore(Grant(number=2, parent=None), {})
    return made


class AwayStore(MemoryStore):
    """Gives no answer to the first `num_unanswered` creates."""

    num_unanswered = 0

    def create(self, key: str, data: Chunks) -> None:
        if self.num_unanswered > 0:
            self.num_unanswered -= 1
            raise StoreUnknown("no answer")
        super().create(key, data)


def test_publisher_lives_on_after_an_error_in_a_look(publisher: publish.Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    stumbles = iter([OSError("the disk stumbled")])

    def stumbling(*args: Any) -> look.Look:
        if (error := next(stumbles, None)) is not None:
            raise error
        return look.look(*args)

    monkeypatch.setattr(publish, "look", stumbling)
    publisher.begin()
    eventually(lambda: publisher.progress.last_commit == 1, "a commit")
    publisher.finish(torn=False, finished=True)
    assert publisher.progress.failed_saves == 0


def test_outage_costs_no_failed_save_and_the_last_files_wait_for_its_end(
    publisher: publish.Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AwayStore, "num_unanswered", 3)
    publisher.begin()
    publisher.finish(torn=False, finished=True)
    assert (publisher.progress.last_commit, publisher.progress.failed_saves) == (1, 0)


def test_outage_is_waited_for_no_longer_once_the_attempt_must_end(
    publisher: publish.Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AwayStore, "num_unanswered", 10**9)
    publisher.begin()
    publisher.hurry()
    publisher.finish(torn=False, finished=True)
    assert (publisher.progress.last_commit, publisher.progress.failed_saves) == (0, 1)


def test_unchanged_files_are_named_and_not_uploaded_again(rig: Rig) -> None:
    rig.start(rig.spec('cd "$LAUNCH_CHECKPOINT_DIR"; mkdir deep; echo old > deep/old')).claim()
    rig.grant()
    first = commit(rig, 1, 1)
    rig.start(rig.spec('echo new > "$LAUNCH_CHECKPOINT_DIR/new"', attempt=2)).claim()
    rig.grant(attempt=2, parent=CommitRef(1, 1))
    keys = {file.path: file.key for file in commit(rig, 2, 1).files}
    assert keys == {"deep/old": first.files[0].key, "new": "attempts/0002/saves/0001/new"}


def test_same_folder_makes_no_second_commit(rig: Rig) -> None:
    first = rig.start(rig.spec('echo x > "$LAUNCH_CHECKPOINT_DIR/a"'))
    rig.grant()
    first.report()
    second = rig.start(rig.spec("cat $LAUNCH_CHECKPOINT_DIR/a", attempt=2))
    rig.grant(attempt=2, parent=CommitRef(1, 1))
    assert second.report().outcome is ExitKind.FINISHED
    assert rig.commit(2, 1) is None


def test_links_modes_and_empty_files_come_back(rig: Rig) -> None:
    makes = """
    cd "$LAUNCH_CHECKPOINT_DIR"; mkdir -p run/7
    echo w > run/7/w; ln -s run/7 latest; ln -s "$PWD/run/7/w" absolute; ln -s /nowhere outside
    : > empty; echo x > tool; chmod 755 tool; chmod 400 run/7/w
    """
    rig.start(rig.spec(makes)).claim()
    rig.grant()
    commit(rig, 1, 1)
    agent = rig.start(rig.spec("touch started; sleep 1000", attempt=2))
    rig.grant(attempt=2, parent=CommitRef(1, 1))
    agent.has_started()
    folder = agent.checkpoint
    assert (folder / "latest/w").read_text() == "w\n"
    assert (folder / "absolute").read_text() == "w\n"
    assert (folder / "absolute").resolve().is_relative_to(agent.root)
    assert os.readlink(folder / "outside") == "/nowhere"
    assert (folder / "empty").stat().st_size == 0
    assert stat.S_IMODE((folder / "tool").stat().st_mode) == 0o755
    assert stat.S_IMODE((folder / "run/7/w").stat().st_mode) == 0o400


def test_outputs_are_in_the_last_commit_and_come_back(rig: Rig) -> None:
    makes = 'mkdir -p out; echo $LAUNCH_ATTEMPT >> out/table; echo x > "$LAUNCH_CHECKPOINT_DIR/a"'
    rig.start(rig.spec(makes, outputs="out")).claim()
    rig.grant()
    assert set(contents(rig, commit(rig, 1, 1))) == {"a", "outputs/table"}
    agent = rig.start(rig.spec(makes, outputs="out", attempt=2))
    rig.grant(attempt=2, parent=CommitRef(1, 1))
    agent.report()
    assert contents(rig, commit(rig, 2, 1))["outputs/table"] == b"1\n2\n"


def test_damaged_parent_is_set_aside_for_its_ancestor(rig: Rig) -> None:
    rig.start(rig.spec('echo 1 > "$LAUNCH_CHECKPOINT_DIR/step"')).claim()
    rig.grant()
    commit(rig, 1, 1)
    rig.start(rig.spec('echo 2 > "$LAUNCH_CHECKPOINT_DIR/step"', attempt=2)).claim()
    rig.grant(attempt=2, parent=CommitRef(1, 1))
    (rig.folder / "store" / commit(rig, 2, 1).files[0].key).write_bytes(b"9\n")
    agent = rig.start(rig.spec('cp "$LAUNCH_CHECKPOINT_DIR/step" resumed', attempt=3))
    rig.grant(attempt=3, parent=CommitRef(2, 1))
    report = agent.report()
    assert agent.file("resumed") == "1\n"
    assert report.last.restored == CommitRef(1, 1)
    assert [bad.ref for bad in report.last.set_aside] == [CommitRef(2, 1)]


def test_attempt_whose_parents_are_all_bad_starts_nothing(rig: Rig) -> None:
    agent = rig.start(rig.spec("touch started", attempt=2))
    rig.grant(attempt=1)
    rig.grant(attempt=2, parent=CommitRef(1, 1))
    report = agent.report()
    assert report.outcome is ExitKind.NOTHING_VALID
    assert "0001-0001" in report.reason
    assert not (agent.root / "code/started").exists()


@pytest.mark.parametrize("ends", ["sleep 1000", "exit 0"])
def test_commit_that_meets_a_seal_ends_the_attempt(rig: Rig, ends: str) -> None:
    seal = Sealed(run="r", incarnation="i1", ref=CommitRef(1, 1), supervisor="s1", nonce="n")
    rig.store.create(commit_key(seal.ref), manifests.write(seal))
    agent = rig.start(rig.spec(f'echo x > "$LAUNCH_CHECKPOINT_DIR/a"; {ends}'))
    rig.grant()
    assert agent.report().outcome is ExitKind.SEALED


def test_program_whose_last_files_cannot_be_saved_has_not_finished(rig: Rig) -> None:
    (rig.folder / "store/attempts/0001").mkdir(parents=True)
    (rig.folder / "store/attempts/0001/saves").write_text("a file where saves should go")
    agent = rig.start(rig.spec('echo x > "$LAUNCH_CHECKPOINT_DIR/a"', failed_saves_max=1))
    rig.grant()
    report = agent.report()
    assert report.outcome is ExitKind.STORE_FAILED
    assert "not in the store" in report.reason
    assert report.last.failed_saves == 1
