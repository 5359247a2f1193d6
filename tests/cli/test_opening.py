"""The record of a run's creation is written once: where it is lost, nobody begins the run anew over its work."""

from pathlib import Path

import pytest

from launcher.app.home import Found, Home
from launcher.app.opening import begin, create
from launcher.core.contract import journal_key
from launcher.core.recipe import Recipe
from launcher.errors import Damaged
from launcher.units import Utc
from tests.builders import NOW

RUN_CREATED = journal_key(2)


def born(tmp_path: Path) -> Found:
    found = create(Home(tmp_path / "home"), Recipe(name="r", run="true"), "run")
    begin(found, supervisor="s1", at=NOW)
    return found


def opened(found: Found, at: Utc = NOW + 1):
    return begin(found, supervisor="s2", at=at)


def damage(found: Found) -> None:
    data = found.store.get(RUN_CREATED)
    found.store.replace(RUN_CREATED, data[:20] + b"X" + data[21:])


def test_a_flipped_byte_in_the_record_of_creation_is_mended_from_its_copy(tmp_path: Path):
    found = born(tmp_path)
    opened(found)
    damage(found)
    history = opened(found, NOW + 2)
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
