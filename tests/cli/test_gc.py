"""`launch gc`: only what a journal does not want any more is ended, and only with -y."""

import json
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from launcher.adapters.cloud.base import Machine
from launcher.adapters.history import History
from launcher.adapters.store import open as open_url
from launcher.adapters.store.providers.base import Place
from launcher.app import wiring
from launcher.app.cli import main
from launcher.app.home import Found, Home, at
from launcher.app.opening import begin, create
from launcher.core.contract import ExitKind, RunHead, journal_key
from launcher.core.instance import instance_name
from launcher.core.recipe import Recipe, Resources, RetrySpec
from launcher.core.run import events as ev
from launcher.errors import CloudUnreachable
from launcher.units import HOUR, MINUTE
from tests import builders
from tests.conformance.provider import Coded, MemoryProvider, Upload, failing, times

DAY = 24 * HOUR


@dataclass
class FakeProvider:
    listed: list[Machine] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    is_away: bool = False
    closed: list[str] = field(default_factory=list)  # regions
    kept: str = ""  # the name of one that may not be ended

    def regions(self) -> list[str]:
        if self.is_away:
            raise CloudUnreachable("EC2 in us-east-1: no AWS credentials")
        return ["us-east-1", *self.closed]

    def ours(self, region: str) -> list[Machine]:
        if region in self.closed:
            raise CloudUnreachable(f"EC2 in {region}: answers UnauthorizedOperation")
        return self.listed

    def machines(self, run: str, incarnation: str, regions: Collection[str]) -> list[Machine]:
        raise AssertionError("gc looks everywhere")

    def end(self, machine: Machine) -> None:
        if machine.name == self.kept:
            raise CloudUnreachable("EC2 in us-east-1: answers UnauthorizedOperation")
        self.ended.append(machine.name)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeProvider:
    monkeypatch.setenv("LAUNCH_HOME", str(tmp_path / "home"))
    fake = FakeProvider()
    monkeypatch.setattr(wiring, "providers", lambda: {"aws": fake})
    monkeypatch.setattr("launcher.app.commands.gc.providers", lambda: {"aws": fake}, raising=False)
    return fake


Made = Callable[..., History]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A run in the home whose attempt 1 was requested an hour ago."""

    def make(name: str, *, keep_failed: float = 0.0) -> History:
        home = Home(tmp_path / "home")
        retry = RetrySpec(error=0, keep_failed=keep_failed)
        recipe = Recipe(name="r", run="true", resources=Resources(infra=("local",)), retry=retry)
        history = begin(create(home, recipe, name), supervisor="s1")
        history.append(builders.requested(history.state, at=history.records[-1].at))
        return history

    return make


def machine(history: History, attempt: int = 1) -> Machine:
    name = instance_name(history.state.run, history.incarnation, attempt)
    return Machine(name=name, cloud="aws", region="us-east-1", id=f"i-{name}", is_up=True, billed_from=0.0)


def let_go(history: History, *, drain: bool) -> None:
    at = history.records[-1].at
    history.append(ev.AttemptUnwanted(at=at, attempt=1, reason="stopped on request", drain=drain))


def document(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["gc", *words, "-o", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return {one["name"]: (one["fate"], one["ended"]) for one in found["machines"]}


def test_what_its_journal_does_not_want_is_ended_and_nothing_else(
    capsys: pytest.CaptureFixture[str], provider: FakeProvider, made: Made
) -> None:
    orphan, working, damaged = made("orphan"), made("working"), made("damaged")
    let_go(orphan, drain=False)
    colleagues = replace(machine(working), name="theirs-c0ffee-1")
    newer = replace(machine(working), name=instance_name("working", working.incarnation, 2))
    copied = replace(machine(working), name=instance_name("working", "another", 1))
    holed = made("holed")
    holed.append(ev.RecordVoided(at=holed.records[-1].at, numbers=(3,), digests=("",)))
    voided, beyond = machine(holed), machine(holed, attempt=7)
    provider.listed = [machine(orphan), machine(working), machine(damaged), colleagues, copied, newer, voided, beyond]
    for number in (1, 2):
        damaged.store.delete(journal_key(number))
        damaged.store.create(journal_key(number), b"rotten")
    for key in [found.key for found in damaged.store.list("segments/")]:
        damaged.store.delete(key)
    fates = {
        machine(orphan).name: "unwanted",
        voided.name: "unwanted",
        machine(working).name: "wanted",
        machine(damaged).name: "unknown",
        colleagues.name: "unknown",
        copied.name: "unknown",
        newer.name: "unknown",
        beyond.name: "unknown",
    }
    assert document(capsys) == {name: (fate, False) for name, fate in fates.items()}
    assert provider.ended == [], "a look ends nothing"
    assert document(capsys, "-y", "--dry-run") == {name: (fate, False) for name, fate in fates.items()}
    assert provider.ended == []
    assert document(capsys, "-y") == {name: (fate, fate == "unwanted") for name, fate in fates.items()}
    assert sorted(provider.ended) == sorted([machine(orphan).name, voided.name])


def test_a_machine_that_is_kept_for_a_look_is_left_until_its_time_is_over(
    capsys: pytest.CaptureFixture[str], provider: FakeProvider, made: Made
) -> None:
    kept, forgotten = made("kept", keep_failed=HOUR), made("forgotten", keep_failed=MINUTE)
    for history in (kept, forgotten):
        at = time.time() - 2 * MINUTE
        history.append(builders.exited(1, ExitKind.SETUP_FAILED, at=at, exit_code=1))
    provider.listed = [machine(kept), machine(forgotten)]
    assert document(capsys, "-y") == {machine(kept).name: ("wanted", False), machine(forgotten).name: ("unwanted", True)}
    main(["gc"])
    assert "`launch stop kept` ends it" in capsys.readouterr().out


def test_a_region_that_is_closed_keeps_no_other_from_being_looked_at(
    capsys: pytest.CaptureFixture[str], provider: FakeProvider, made: Made
) -> None:
    """One region that an organization had closed kept gc from all others."""
    history = made("orphan")
    let_go(history, drain=False)
    provider.closed, provider.listed = ["eu-north-1"], [machine(history)]
    assert main(["gc", "-y", "-o", "json"]) == 5
    said = capsys.readouterr()
    assert provider.ended == [machine(history).name]
    told = "EC2 in eu-north-1: answers UnauthorizedOperation; what runs there was not seen"
    assert json.loads(said.out)["troubles"] == [told]
    assert said.err == f"launch: {told}\n"
    provider.listed = []
    assert main(["gc"]) == 5
    assert "no machine on aws, as far as it could be looked at, carries our labels" in capsys.readouterr().out


def test_one_that_cannot_be_ended_keeps_no_other_up(
    capsys: pytest.CaptureFixture[str], provider: FakeProvider, made: Made
) -> None:
    """`gc -y` ended at the first refusal as if by a bug of ours: it did not say what it had ended, and left the others up."""
    kept, other = made("kept"), made("other")
    for history in (kept, other):
        let_go(history, drain=False)
    provider.listed, provider.kept = [machine(kept), machine(other)], machine(kept).name
    assert main(["gc", "-y", "-o", "json"]) == 5
    said = capsys.readouterr()
    assert [(one["name"], one["ended"]) for one in json.loads(said.out)["machines"]] == [
        (machine(kept).name, False),
        (machine(other).name, True),
    ]
    assert provider.ended == [machine(other).name]
    assert f"{machine(kept).name} was not ended: EC2 in us-east-1: answers UnauthorizedOperation" in said.err


def test_one_that_still_has_time_to_save_is_left(capsys: pytest.CaptureFixture[str], provider: FakeProvider, made: Made) -> None:
    history = made("saving")
    let_go(history, drain=True)
    provider.listed = [machine(history)]
    assert document(capsys, "-y") == {machine(history).name: ("wanted", False)}


def test_a_run_of_another_home_is_found_by_its_store(
    capsys: pytest.CaptureFixture[str], provider: FakeProvider, made: Made, tmp_path: Path
) -> None:
    history = made("elsewhere")
    let_go(history, drain=False)
    provider.listed = [machine(history)]
    other = ("--home", str(tmp_path / "other"))
    assert document(capsys, *other) == {machine(history).name: ("unknown", False)}
    assert document(capsys, *other, "-y", "--store", history.store.url) == {machine(history).name: ("unwanted", True)}


def test_a_copy_of_a_run_lets_go_of_no_machine_that_the_other_started(
    capsys: pytest.CaptureFixture[str], provider: FakeProvider, made: Made, tmp_path: Path
) -> None:
    """A copy passes over the numbers that it saw in the cloud, and ended those machines as if their requests were void."""
    original = made("twice")
    shutil.copytree(tmp_path / "home/runs/twice", tmp_path / "copy")
    original.append(replace(builders.requested(original.state, at=original.records[-1].at), attempt=2))
    copied = begin(at((tmp_path / "copy").as_uri()), supervisor="s2", insist=True)
    let_go(copied, drain=False)
    copied.append(replace(builders.requested(copied.state, at=copied.records[-1].at), attempt=3))
    provider.listed = [machine(original, 1), machine(original, 2)]
    by_copy = ("--store", copied.store.url)
    elsewhere = ("--home", str(tmp_path / "other"))
    assert document(capsys, *elsewhere, *by_copy)[machine(original, 2).name] == ("unknown", False)
    assert document(capsys, *by_copy, "-y") == {machine(original, n).name: ("wanted", False) for n in (1, 2)}


def test_a_machine_whose_run_lies_in_a_place_that_cannot_be_read_is_left_alone_whatever_a_copy_says(
    capsys: pytest.CaptureFixture[str], provider: FakeProvider, made: Made, tmp_path: Path
) -> None:
    original = made("twice")
    shutil.copytree(tmp_path / "home/runs/twice", tmp_path / "copy")
    copied = begin(at((tmp_path / "copy").as_uri()), supervisor="s2", insist=True)
    let_go(copied, drain=False)
    provider.listed = [machine(original)]
    (tmp_path / "home/runs/twice/run.json").write_text("{")
    assert document(capsys, "-y", "--store", copied.store.url) == {machine(original).name: ("unknown", False)}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, provider: FakeProvider) -> MemoryProvider:
    """In which three runs began to send something; this home knows the first. The youngest may still be at work."""
    began = {"mine/a": 2 * DAY, "mine/b": 9 * DAY, "mine/c": HOUR, "theirs/a": 9 * DAY, "other/a": 9 * DAY}
    uploads = {name: Upload(Place("bkt", f"runs/{name}"), time.time() - ago, "m") for name, ago in began.items()}
    memory = MemoryProvider(uploads=uploads)
    monkeypatch.setitem(open_url._REMOTE, "s3", lambda: memory)
    head = RunHead(run="mine", incarnation="inc", created_at=0.0, launch_version="1")
    home = Home(tmp_path / "home")
    home.make()
    home.note(Found(store=open_url.open_store("s3://bkt/runs/mine"), head=head))
    return memory


def test_what_killed_writers_left_of_uploads_is_told_and_thrown_away_of_the_runs_that_are_meant(
    capsys: pytest.CaptureFixture[str], bucket: MemoryProvider
) -> None:
    assert main(["gc"]) == 0
    said = capsys.readouterr()
    assert "throw away what 2 uploads left in s3://bkt/runs/mine" in said.out
    assert "launch gc -y" in said.err
    assert len(bucket.uploads) == 5, "a look throws nothing away"
    assert main(["gc", "-y", "--store", "s3://bkt/runs/other", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["uploads"]
    assert [(one["store"], one["keys"], one["ended"]) for one in told] == [
        ("s3://bkt/runs/mine", ["a", "b"], True),
        ("s3://bkt/runs/other", ["a"], True),
    ]
    assert set(bucket.uploads) == {"mine/c", "theirs/a"}


def test_a_store_that_does_not_tell_of_uploads_keeps_no_machine_up(
    capsys: pytest.CaptureFixture[str], provider: FakeProvider, made: Made, bucket: MemoryProvider
) -> None:
    history = made("orphan")
    let_go(history, drain=False)
    provider.listed = [machine(history)]
    bucket.before = times(9, "abandoned", failing(Coded, "AccessDenied"))
    assert main(["gc", "-y"]) == 6
    assert provider.ended == [machine(history).name]
    assert "what was left there of uploads was not seen" in capsys.readouterr().err


def test_a_cloud_that_cannot_be_asked_keeps_no_upload_in_a_store(
    capsys: pytest.CaptureFixture[str], provider: FakeProvider, bucket: MemoryProvider
) -> None:
    provider.is_away = True
    assert main(["gc", "-y", "-o", "json"]) == 5
    said = capsys.readouterr()
    assert [(one["store"], one["ended"]) for one in json.loads(said.out)["uploads"]] == [("s3://bkt/runs/mine", True)]
    assert set(bucket.uploads) == {"mine/c", "theirs/a", "other/a"}
    told = "EC2 in us-east-1: no AWS credentials; what runs on aws was not seen; `launch doctor` says what is missing"
    assert said.err == f"launch: {told}\n"


def test_it_says_so_where_there_is_none_and_where_nobody_answers(
    capsys: pytest.CaptureFixture[str], provider: FakeProvider
) -> None:
    assert main(["gc"]) == 0
    assert "no machine on aws carries our labels" in capsys.readouterr().out
    provider.is_away = True
    assert main(["gc"]) == 5
    assert "launch doctor" in capsys.readouterr().err
