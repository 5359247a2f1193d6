"""Looking at runs: all of them in a table, one in detail; whatever cannot be read is said, and nothing is changed by looking."""

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from launcher import beacon, clock, codec
from launcher.adapters.cloud.local_registry import clock_of
from launcher.adapters.history import History
from launcher.adapters.store.files import FileStore
from launcher.app.home import Home, at, find
from launcher.app.looking import UNDRIVEN_MOST_S, looks
from launcher.app.result import result_of, resume_command
from launcher.app.show import BRIEF_MOST, final_block
from launcher.app.standing import said_by_machines, warnings_of
from launcher.app.wiring import registry_of
from launcher.beacon import Lamp
from launcher.clock import SystemClock
from launcher.core.contract import WATCH_KEY, Heartbeat
from launcher.core.run import events as ev
from launcher.core.run.observation import Watch, left
from launcher.core.run.verdict import judge
from launcher.core.tempo import Tempo
from launcher.units import HOUR
from tests import builders
from tests.cli.past import (
    INCARNATION,
    cut,
    document,
    everything,
    failed,
    home,
    keep,
    launch,
    local,
    note,
    number_of,
    out_of_budget,
    out_of_time,
    preempted,
    store_of,
    with_checkpoints,
    without_copies,
)
from tests.simulation.worlds import START, Sim

LOOKS = [
    ["runs"],
    ["status", "r"],
    ["status"],
    ["events", "r"],
    ["logs", "r"],
    ["report", "r"],
    ["report", "--all"],
    ["ckpt", "ls", "r"],
    ["ckpt", "verify", "r"],
    ["ckpt", "pin", "r", "newest", "--dry-run"],
    ["rm", "r", "--dry-run"],
    ["recipes", "ls"],
    ["config", "show", "quickstart"],
]


@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
@pytest.mark.parametrize("output", ["table", "json", "yaml"])
def test_looking_changes_nothing(words: list[str], output: str, capsys: pytest.CaptureFixture[str]):
    with_checkpoints()
    before = everything()
    assert launch(*words, "-o", output) == 0
    assert everything() == before
    out = capsys.readouterr().out
    assert "schema_version" in out if output != "table" else "schema_version" not in out


# --- runs ----------------------------------------------------------------------------------------------------------------------


def test_runs_shows_each_run_in_a_line_the_newest_first(capsys: pytest.CaptureFixture[str]):
    keep(failed(), "older", age_s=7200)
    keep(preempted(), "newer")
    assert launch("runs") == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["RUN", "STATE", "STEP", "ATTEMPTS", "SPENT", "STARTED", "WHERE"]
    assert first.split()[:4] == ["newer", "SUCCEEDED", "5400/5400", "2"]
    assert "FAILED" in second
    assert "120 min" in second or "2.0 h" in second
    assert "the program failed" in second


def test_an_empty_home_says_how_to_begin(capsys: pytest.CaptureFixture[str]):
    assert launch("runs") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "launch train quickstart" in said.err
    assert document(capsys, "runs")["runs"] == []


def test_runs_that_cannot_be_read_are_listed_with_the_reason(capsys: pytest.CaptureFixture[str]):
    keep(preempted(), "whole")
    note("garbage").replace("run.json", b"{")
    note("gone")
    shutil.rmtree(home() / "runs" / "gone")
    (home() / "index" / "broken.json").write_bytes(b"?")
    rows = {row["run"]: row for row in document(capsys, "runs")["runs"]}
    assert rows["whole"]["error"] is None
    assert "run.json is damaged" in rows["garbage"]["error"]
    assert "there is no run at" in rows["gone"]["error"]
    assert "cannot be read" in rows["broken"]["error"]


def test_a_row_has_the_same_keys_whatever_is_known_of_its_run(capsys: pytest.CaptureFixture[str]):
    keep(preempted(), "whole")
    note("born")
    shutil.rmtree(home() / "runs" / note("gone").url.rpartition("/")[2])
    (home() / "index" / "broken.json").write_bytes(b"?")
    rows = {row["run"]: row for row in document(capsys, "runs")["runs"]}
    assert {tuple(row) for row in rows.values()} == {tuple(rows["whole"])}
    assert rows["gone"] == {
        **dict.fromkeys(rows["whole"]),
        **{key: rows["gone"][key] for key in ("run", "store", "created_at", "error")},
    }
    assert rows["gone"]["created_at"] is not None
    assert rows["broken"]["created_at"] is None


@pytest.mark.parametrize("words", [("runs",), ("status", "r")])
def test_a_run_that_was_moved_away_says_how_it_is_found_and_let_go_of(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    url = with_checkpoints()[0].url
    (home() / "runs" / "other").mkdir()
    moved = home() / "a folder of some length, so that the line is too long for the cell of a table" / "r"
    shutil.move(home() / "runs" / "r", moved)
    assert launch(*words) == (0 if words == ("runs",) else 2)
    said = "".join(capsys.readouterr()).rstrip()
    assert said.endswith(
        f"there is no run at {url} any more; moved? `launch resume NEW_URL`; deleted? `launch rm {url} -y` drops this entry"
    )
    assert launch("rm", url, "-y") == 0
    assert Home(home()).entries() == ()


def test_a_run_without_an_index_entry_is_found_in_the_home(capsys: pytest.CaptureFixture[str]):
    keep(preempted(), "r")
    Home(home()).forget("r", store_of("r").url)
    assert [row["run"] for row in document(capsys, "runs")["runs"]] == ["r"]


def test_runs_of_one_name_are_told_apart_and_gone_on_with_by_their_urls(capsys: pytest.CaptureFixture[str]):
    store, _ = with_checkpoints()
    copy = (home() / "elsewhere" / "r").as_uri()
    shutil.copytree(home() / "runs" / "r", home() / "elsewhere" / "r")
    Home(home()).note(at(copy))
    assert launch("runs") == 0
    _, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 2
    assert all(any(f"{url}: stopped on request" in row for row in rows) for url in (store.url, copy))
    assert launch("status", "r") == 2
    err = capsys.readouterr().err
    assert store.url in err
    assert copy in err
    assert document(capsys, "status")["next"] in (f"launch resume {store.url}", f"launch resume {copy}")


def test_what_fills_a_table_is_cut_and_stands_whole_where_one_run_is_looked_at(capsys: pytest.CaptureFixture[str]):
    long = "the cloud said " + "no " * 200
    store, _ = with_checkpoints()
    history = History(store, INCARNATION, writer="s1")
    history.poll()
    history.open(ev.SupervisorStarted(at=builders.NOW, supervisor="s2", host="h", pid=1))
    history.append(ev.RunResumed(at=builders.NOW, recipe=local(), deadline_at=None))
    history.append(ev.RunPaused(at=builders.NOW, exit_code=5, reason=long))
    assert launch("runs") == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert row.endswith(" no …")
    assert len(row) < BRIEF_MOST + 60
    assert launch("status", "r") == 0
    assert long.strip() in capsys.readouterr().out


def test_a_run_that_was_never_started_says_how_to_start_it(capsys: pytest.CaptureFixture[str]):
    note("born")
    assert launch("runs") == 0
    assert "launch resume born" in capsys.readouterr().out


# --- status --------------------------------------------------------------------------------------------------------------------


def test_status_of_a_finished_run_tells_its_attempts_and_what_to_type_next(capsys: pytest.CaptureFixture[str]):
    keep(preempted())
    assert launch("status", "r") == 0
    out = capsys.readouterr().out
    assert "SUCCEEDED" in out
    assert "killed by SIGKILL" in out
    assert out.rstrip().endswith("launch report r")


def test_status_without_a_name_is_of_the_newest_run_even_if_it_is_done(capsys: pytest.CaptureFixture[str]):
    with_checkpoints("unfinished")
    keep(preempted())
    assert document(capsys, "status")["run"] == "r"


def test_status_takes_a_prefix_and_a_store_url(capsys: pytest.CaptureFixture[str]):
    store, _ = with_checkpoints("quiet-otter")
    assert document(capsys, "status", "quiet")["run"] == "quiet-otter"
    assert document(capsys, "status", store.url)["run"] == "quiet-otter"


@pytest.mark.parametrize("command", ["status", "report"])
def test_a_run_named_by_its_url_is_gone_on_with_by_its_url(command: str, capsys: pytest.CaptureFixture[str]):
    """The home may not know it, or know another one by its name."""
    store, _ = with_checkpoints()
    assert launch(command, store.url) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"launch resume {store.url}")
    assert launch(command, "r") == 0
    assert capsys.readouterr().out.rstrip().endswith("launch resume r")


def test_an_unknown_run_is_a_usage_error(capsys: pytest.CaptureFixture[str]):
    assert launch("status", "nobody") == 2
    assert "nobody" in capsys.readouterr().err


def test_a_run_that_ran_out_of_budget_is_told_the_command_that_raises_it(capsys: pytest.CaptureFixture[str]):
    keep(out_of_budget())
    told = document(capsys, "status", "r")
    assert (told["state"], told["exit_code"], told["budget_usd"]) == ("PAUSED", 4, 0.5)
    assert told["next"] == "launch resume r policy.budget=1.9"


def test_what_is_told_at_the_end_of_a_run_out_of_budget_raises_it():
    store = keep(out_of_budget())
    history = History(store, INCARNATION)
    history.poll()
    last = final_block(result_of(history, history.records[-1].at))[-1]
    assert last.split("next")[1].strip() == "launch resume r policy.budget=1.9"


def test_the_command_after_a_deadline_can_be_typed_as_it_stands():
    late = Sim(recipe=local(), deadline_at=START + HOUR).run()
    assert resume_command(late, "file:///runs/r") == "launch resume r policy.deadline=4h"


def test_a_program_that_was_left_at_home_is_resumed_with_its_folder():
    state = failed().history.state
    bare = replace(state, recipe=replace(state.recipe, run="python train.py", trainer=None, workdir=None), code=None)
    assert resume_command(bare, "file:///runs/r") == "launch resume r workdir=. --allow-change workdir"


def test_a_run_is_not_resumed_without_its_secrets(capsys: pytest.CaptureFixture[str]):
    with_checkpoints(of=replace(local(), secrets=("NO_SUCH_TOKEN",)))
    assert launch("resume", "r", "--dry-run") == 2
    assert "NO_SUCH_TOKEN" in capsys.readouterr().err
    assert launch("resume", "r", "--dry-run", "secrets=[]") == 0


def test_a_run_whose_supervisor_died_says_that_nobody_supervises(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.CheckpointSeen))
    told = document(capsys, "status", "r")
    assert told["state"] == "RUNNING"
    assert told["supervisor"]["alive"] is False
    assert told["next"] == "launch resume r"
    assert told["then"].startswith("nobody supervises")


def test_between_two_ticks_the_next_one_is_awaited(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.CheckpointSeen))
    last = find(Home(home()), "r").read().records[-1]
    due = left(Watch(), last=last.number, boot_id="b", back_at=last.at + 25)
    store.replace(WATCH_KEY, codec.dumps_digested(due))
    told = document(capsys, "status", "r")
    assert (told["then"], told["next"]) == ("the next tick is awaited in 25 s", "launch tick r")
    assert told["next_tick_at"] is not None
    assert launch("runs") == 0
    assert "the next tick is awaited" in capsys.readouterr().out


@pytest.mark.parametrize(("changes", "why"), [({"back_at": -1000.0}, "it never came"), ({"last": 1}, "somebody drove it since")])
def test_a_tick_that_will_not_come_is_not_awaited(changes: dict[str, Any], why: str, capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.CheckpointSeen))
    last = find(Home(home()), "r").read().records[-1]
    due = left(Watch(), last=last.number, boot_id="b", back_at=last.at + 25)
    gone = replace(due, **{name: last.at + value if name == "back_at" else value for name, value in changes.items()})
    store.replace(WATCH_KEY, codec.dumps_digested(gone))
    told = document(capsys, "status", "r")
    assert told["then"].startswith("nobody supervises"), why
    assert told["next_tick_at"] is None


def test_a_run_whose_supervisor_and_machine_are_gone_says_how_long_nothing_was_heard(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.CheckpointSeen))
    folder = registry_of(INCARNATION)
    folder.mkdir(parents=True)
    clock.create(clock_of(folder), speed=1.0, market_start=0.0, monotonic=lambda: time.monotonic() - 40)
    told = document(capsys, "status", "r")
    assert told["doing"].startswith("attempt 1 at ")
    assert told["doing"].endswith("was not heard of for 40 s")
    assert "trains" not in told["then"] + told["doing"]
    assert told["steps_per_s"] is None


def test_a_run_that_nobody_drives_and_that_has_no_machine_waits_for_nothing(capsys: pytest.CaptureFixture[str]):
    """Its supervisor went away while it measured, say."""
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.SpeedChosen) - 1)
    assert document(capsys, "status", "r")["doing"] == "no machine, and nobody to ask for one"
    Lamp(store, SystemClock(), "sup-1").burn(Tempo(), 0.0)
    assert document(capsys, "status", "r")["doing"] == "start-up and work are being measured, before the first attempt"


def test_a_report_on_a_supervised_run_does_not_send_anybody_to_resume_it(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.CheckpointSeen))
    Lamp(store, SystemClock(), "sup-1").burn(Tempo(), 0.0)
    assert launch("report", "r") == 0
    assert capsys.readouterr().out.rstrip().endswith("next    launch status -w r")


def test_a_living_supervisor_is_seen(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.NoticeSeen))
    Lamp(store, SystemClock(), "sup-1").burn(Tempo(), 0.0)
    told = document(capsys, "status", "r")
    assert told["supervisor"]["alive"] is True
    assert told["state"] == "DRAINING"
    assert "notice" in told["doing"]


def test_the_loss_and_the_step_of_a_living_writer_come_from_its_heartbeat(capsys: pytest.CaptureFixture[str]):
    store = keep(preempted())
    cut(store, number_of(preempted(), ev.CheckpointSeen))
    for meta in list(store.list("attempts/0001/commits/"))[1:]:
        store.delete(meta.key)
    key = "attempts/0001/heartbeat.json"
    beat = codec.loads_digested(Heartbeat, store.get(key))
    store.replace(key, codec.dumps_digested(replace(beat, step=777, loss=2.5, steps_per_s=3.0)))
    told = document(capsys, "status", "r")
    assert (told["reached_step"], told["loss"], told["steps_per_s"]) == (777, 2.5, 3.0)
    newest = {"ref": "0001-0001", "step": 300, "commit": None, "bytes": 9, "age_s": 0.0, "journaled": True}
    assert told["newest_checkpoint"] == newest


def test_an_unreadable_record_is_a_warning_and_not_the_end(capsys: pytest.CaptureFixture[str]):
    store = without_copies(keep(preempted()))
    store.replace("journal/00000012.json", b"?")
    assert launch("status", "r") == 0
    assert "record 12 cannot be read" in capsys.readouterr().out


def test_attempts_that_trained_and_published_nothing_are_a_warning():
    program = replace(builders.new_run().recipe, trainer=None, run="python train.py")
    history = History(note("r"), INCARNATION, writer="s1")
    history.open(ev.SupervisorStarted(at=builders.NOW, supervisor="s1", host="h", pid=1))
    created = ev.RunCreated(at=builders.NOW, run="r", incarnation=INCARNATION, recipe=program, deadline_at=None, code=None)
    history.append(created)
    shown = []
    for _ in range(2):
        for event in builders.barren(history.state):
            history.append(event)
        shown.append(warnings_of(history, builders.NOW, None))
    assert shown[0] == ("model.pt kept changing",), "one attempt may be too short for its first save"
    assert "2 attempts in a row trained and published nothing" in shown[1][0]


def test_a_machines_last_warnings_stay_until_another_has_trained():
    busy = "no file published yet: w changed"
    state = builders.training_run()
    trains = ev.TrainingStarted(at=builders.NOW, attempt=1, heartbeat=builders.heartbeat(1, 2, training_s=1.0))
    last = replace(builders.heartbeat(1, 3, training_s=9.0), warnings=(busy,))
    state = builders.after(state, trains, replace(builders.lost(1), heartbeat=last), builders.sealed(1))
    assert said_by_machines(state, None) == (busy,)
    second = (builders.requested(state), builders.started(2), builders.claimed(2), builders.granted(2))
    state = builders.after(state, *second)
    restores = replace(builders.heartbeat(2), warnings=("other GPU",))
    assert said_by_machines(state, restores) == ("other GPU", busy)
    ended = builders.after(state, replace(builders.lost(2), heartbeat=restores), builders.sealed(2))
    assert said_by_machines(ended, restores) == ("other GPU", busy), "it never came to train"
    trained = replace(trains, attempt=2, heartbeat=builders.heartbeat(2, 2, training_s=1.0))
    assert said_by_machines(builders.after(state, trained), builders.heartbeat(2, 2, training_s=1.0)) == ()


def given_up(*, said: str, speed: float) -> FileStore:
    """A run whose program published nothing in as many attempts as are given to it."""
    program = replace(builders.new_run().recipe, trainer=None, run="python train.py")
    store = note("r")
    history = History(store, INCARNATION, writer="s1")
    history.open(ev.SupervisorStarted(at=builders.NOW, supervisor="s1", host="h", pid=1))
    code = "code/0.tar"
    created = ev.RunCreated(at=builders.NOW, run="r", incarnation=INCARNATION, recipe=program, deadline_at=None, code=code)
    history.append(created)
    history.append(ev.SpeedChosen(at=builders.NOW, speed=speed, startup_s=1.0, work_s=None, reason="test"))
    while (verdict := judge(history.state, builders.NOW)) is None:
        for event in builders.short_lived(history.state, said=said):
            history.append(event)
    history.append(ev.RunPaused(at=builders.NOW, exit_code=verdict.exit_code, reason=verdict.reason, needs=verdict.needs))
    return store


def test_a_rehearsal_whose_lives_are_too_short_is_begun_anew_since_a_run_keeps_its_speed(capsys: pytest.CaptureFixture[str]):
    store = given_up(said="", speed=300)
    told = document(capsys, "status", "r")
    figures = "in lives of 12 s here starting took 9 s, and the program's 3 s came to no whole save"
    assert told["reason"] == f"10 attempts in a row published nothing: {figures}"
    assert "a run keeps its speed" in told["then"]
    assert not [warning for warning in told["warnings"] if "at 10 the run pauses" in warning]
    assert told["next"] == f"launch train {store.url.removeprefix('file://')}/recipe.yaml local.speed=90"
    assert launch("report", "r") == 0
    assert capsys.readouterr().out.rstrip().endswith(told["next"])


def test_a_program_that_keeps_its_folder_in_flux_is_mended_and_its_new_files_are_taken(capsys: pytest.CaptureFixture[str]):
    given_up(said="no file published yet: model.pt open for writing; leave 5 s", speed=300)
    told = document(capsys, "status", "r")
    assert told["reason"] == "10 attempts in a row published nothing: model.pt open for writing"
    assert "launch help contract" in told["then"]
    assert told["next"] == "launch resume r --allow-change workdir"


def paused_by_an_older_launch(sim: Sim) -> None:
    """As its journal was before a pause told what it needs."""
    store, last = keep(sim), sim.history.records[-1]
    assert isinstance(last.event, ev.RunPaused)
    cut(store, last.number - 1)
    history = History(store, INCARNATION, writer="s2")
    released = beacon.read(store)
    assert released is not None
    # Whoever opened the journal released the beacon: else a resume waits two minutes for it to move.
    history.open(ev.SupervisorStarted(at=last.event.at, supervisor=released.supervisor, host="h", pid=1))
    history.append(replace(last.event, needs=""))


@pytest.mark.parametrize(("sim", "key"), [(out_of_budget, "budget"), (out_of_time, "deadline")])
def test_a_pause_that_does_not_tell_what_it_needs_is_gone_on_with_by_a_change_that_suffices(
    sim: Callable[[], Sim], key: str, capsys: pytest.CaptureFixture[str]
):
    paused_by_an_older_launch(sim())
    told = document(capsys, "status", "r")
    assert re.fullmatch(rf"launch resume r policy\.{key}=[\d.]+h?", told["next"])
    assert launch("resume", "r", "--dry-run") == 4, "without the change it would be paused again"
    assert launch(*told["next"].split()[1:], "--dry-run") == 0


def test_watching_a_run_that_has_ended_prints_it_once(capsys: pytest.CaptureFixture[str]):
    keep(preempted())
    assert document(capsys, "status", "-w", "r")["state"] == "SUCCEEDED"


def test_a_watch_goes_on_while_somebody_supervises_and_ends_with_the_run():
    whole = keep(preempted())
    records = {meta.key: whole.get(meta.key) for meta in whole.list("journal/")}
    cut(whole, 10)
    Lamp(whole, SystemClock(), "sup-1").burn(Tempo(), 0.0)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            for key, data in records.items():
                whole.replace(key, data)

    seen = list(looks(History(store_of("r"), INCARNATION), wait=wait))
    assert seen == [False, False, False, True]


def test_a_watch_ends_when_nobody_has_supervised_for_a_while():
    store = keep(preempted())
    cut(store, 10)
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    assert list(looks(History(store, INCARNATION), wait=wait, monotonic=lambda: now[0]))[-1]
    assert now[0] > UNDRIVEN_MOST_S


@pytest.mark.parametrize("words", [["--from", "0"], ["policy.budget=5"], ["--allow-change", "workdir"]])
def test_a_run_that_succeeded_is_not_changed_and_resume_says_so(words: list[str], capsys: pytest.CaptureFixture[str]):
    keep(preempted())
    assert launch("resume", "r", *words) == 2
    assert "r has succeeded, and that is final" in capsys.readouterr().err
