"""The record of a run's creation is written once: where it is lost, nobody begins the run anew over its work. And whoever goes on
with a run goes on in time."""

from pathlib import Path

import pytest

from launcher import clock
from launcher.adapters.cloud.local_registry import clock_of
from launcher.adapters.history import History
from launcher.app import wiring
from launcher.app.home import Found, Home
from launcher.app.opening import begin, create
from launcher.app.resuming import go_on, resumption
from launcher.core.contract import journal_key
from launcher.core.recipe import Recipe, Resources
from launcher.core.run import events as ev
from launcher.errors import Damaged

RUN_CREATED = journal_key(2)


def born(tmp_path: Path) -> Found:
    found = create(Home(tmp_path / "home"), Recipe(name="r", run="true", resources=Resources(infra=("local",))), "run")
    begin(found, supervisor="s1")
    return found


def opened(found: Found) -> History:
    return begin(found, supervisor="s2")


def damage(found: Found) -> None:
    data = found.store.get(RUN_CREATED)
    found.store.replace(RUN_CREATED, data[:20] + b"X" + data[21:])


def test_a_flipped_byte_in_the_record_of_creation_is_mended_from_its_copy(tmp_path: Path):
    found = born(tmp_path)
    opened(found)
    damage(found)
    history = opened(found)
    assert (history.state.run, len(history.records)) == ("run", 4)


def test_a_run_whose_creation_cannot_be_read_is_refused_by_name_and_not_begun_anew(tmp_path: Path):
    found = born(tmp_path)
    for meta in found.store.list("segments/"):
        found.store.delete(meta.key)
    damage(found)
    before = [meta.key for meta in found.store.list("")]
    with pytest.raises(Damaged, match=RUN_CREATED):
        opened(found)
    assert [meta.key for meta in found.store.list("")] == before


def test_a_supervisor_that_died_before_the_creation_leaves_a_run_that_the_next_one_creates(tmp_path: Path):
    found = born(tmp_path)
    for key in (RUN_CREATED, *(meta.key for meta in found.store.list("segments/"))):
        found.store.delete(key)
    assert opened(found).state.run == "run"


def test_no_record_of_a_resumption_is_earlier_than_the_one_before_it_however_fast_the_market_runs(tmp_path: Path):
    found = born(tmp_path)
    paused_at = found.head.created_at + 60
    opened(found).append(ev.RunPaused(at=paused_at, exit_code=130, reason="stopped on request"))
    path = clock_of(wiring.registry_of(found.head.incarnation))
    path.parent.mkdir(parents=True)
    clock.create(path, speed=1e7, market_start=paused_at)  # a tenth of a millisecond here is a quarter of an hour there

    before = found.read()
    resumed = resumption(before, found.market_now(before), (), (), None)
    history = begin(found, supervisor="s3")
    go_on(history, resumed)

    times = [record.at for record in history.records]
    assert times == sorted(times)
    assert isinstance(history.records[-1].event, ev.RunResumed)
    assert wiring.clock_of(history).utc_s() >= times[-1]
