"""The rule of whole files, as a table."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from launcher import processes
from launcher.node.held import hold
from launcher.node.look import Look, Seen, held_for_writing, is_whole, look, obstacle, sole_change, was_whole

SEEN = Seen(size=3, mtime_ns=1, inode=(1, 1), mode=0o100644)
OTHER = [
    Seen(size=4, mtime_ns=1, inode=(1, 1), mode=0o100644),
    Seen(size=3, mtime_ns=2, inode=(1, 1), mode=0o100644),
    Seen(size=3, mtime_ns=1, inode=(1, 2), mode=0o100644),
]


def at(seconds: float, busy: str = "", **files: Seen) -> Look:
    return Look(at=seconds, files=files, busy=frozenset(busy.split()))


def test_file_that_stood_still_over_two_looks_is_whole() -> None:
    assert is_whole(at(0, a=SEEN), at(2, a=SEEN))


def test_looks_too_close_prove_nothing() -> None:
    assert not is_whole(at(0, a=SEEN), at(1.9, a=SEEN))


@pytest.mark.parametrize("changed", OTHER)
def test_changed_size_mtime_or_inode_is_flux(changed: Seen) -> None:
    assert not is_whole(at(0, a=SEEN, b=SEEN), at(2, a=SEEN, b=changed))


def test_new_file_is_flux_and_a_vanished_one_is_not() -> None:
    assert not is_whole(at(0, a=SEEN), at(2, a=SEEN, b=SEEN))
    assert is_whole(at(0, a=SEEN, b=SEEN), at(2, a=SEEN))


def test_file_held_for_writing_at_either_look_is_flux() -> None:
    assert not is_whole(at(0, a=SEEN), at(2, "a", a=SEEN))
    assert not is_whole(at(0, "a", a=SEEN), at(2, a=SEEN))
    assert is_whole(at(0, "b", a=SEEN, b=SEEN), at(2, a=SEEN))


REPLACED = OTHER[2]


def test_only_the_one_file_that_came_or_was_replaced_since_is_worth_keeping_open() -> None:
    assert sole_change(at(0), at(2, a=SEEN)) == "a"
    assert sole_change(at(0, a=SEEN, b=SEEN), at(2, a=REPLACED, b=SEEN)) == "a"
    assert sole_change(at(0, a=SEEN, b=SEEN), at(2, a=REPLACED, b=REPLACED)) is None
    assert sole_change(at(0, a=SEEN, b=SEEN), at(2, a=REPLACED)) is None
    assert sole_change(at(0, a=SEEN), at(2, "a", a=REPLACED)) is None
    assert sole_change(at(0, a=SEEN), at(2, a=SEEN)) is None


def test_replaced_file_that_was_kept_open_is_whole_where_its_name_is_all_that_changed() -> None:
    then = at(0, a=SEEN, b=SEEN)
    assert was_whole("a", then, at(2, a=REPLACED, b=SEEN))
    assert was_whole("a", then, at(2, "a", a=REPLACED, b=SEEN)), "the newer file is being written, not this one"
    assert not was_whole("a", then, at(1.9, a=REPLACED, b=SEEN))
    assert not was_whole("a", then, at(2, a=REPLACED, b=REPLACED)), "a save of two files, seen between the first and the second"
    assert not was_whole("a", then, at(2, a=REPLACED, b=SEEN, c=SEEN))
    assert not was_whole("a", then, at(2, b=SEEN))
    assert not was_whole("a", at(0, "b", a=SEEN, b=SEEN), at(2, a=REPLACED, b=SEEN))
    assert not was_whole("a", then, at(2, "b", a=REPLACED, b=SEEN))


def test_replaced_file_that_its_writer_still_holds_is_in_flux() -> None:
    now = replace(at(2, a=REPLACED), held=frozenset({SEEN.inode}))
    assert not was_whole("a", at(0, a=SEEN), now)


def test_file_kept_open_is_read_as_it_was_and_tells_when_it_was_written_into(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    held = hold("a", path, look({"": tmp_path}, ()))
    assert held is not None
    with path.open("a") as writer:
        path.rename(tmp_path / "b")
        path.write_text("new")
        assert held.is_as_seen()
        assert [b"".join(held.chunks(2)) for _ in range(2)] == [b"old", b"old"]
        writer.write(" and more")
    assert not held.is_as_seen()
    seen_before = look({"": tmp_path}, ())
    path.unlink()
    path.write_text("newer")
    assert hold("a", path, seen_before) is None


def test_obstacle_names_the_file_and_what_it_does() -> None:
    before = (at(0), at(2, a=SEEN))
    assert obstacle((at(0), at(2))) == "the folder is empty"
    assert obstacle((*before, at(4, a=SEEN), at(6, "a", a=SEEN))) == "a open for writing"
    moving = (*before, at(4, a=SEEN, b=SEEN), at(6, a=REPLACED, c=SEEN))
    assert obstacle(moving) == "a and 2 more kept changing between looks 2 s apart"


def test_a_file_that_has_just_come_is_no_obstacle_yet() -> None:
    assert obstacle((at(0), at(2, a=SEEN))) == ""
    assert obstacle((at(0), at(2, "a", a=SEEN), at(4, a=SEEN))) == ""


@pytest.mark.skipif(not Path("/proc/self/fdinfo").exists(), reason="needs /proc")
@pytest.mark.parametrize(("mode", "held"), [("r", False), ("w", True), ("a", True), ("r+", True)])
def test_open_files_of_a_process_are_seen_by_how_they_were_opened(tmp_path: Path, mode: str, held: bool) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    with path.open(mode):
        found = held_for_writing([processes.me()])
        assert ((path.stat().st_dev, path.stat().st_ino) in found) is held
        assert (look({"": tmp_path}, [processes.me()]).busy == {"a"}) is held


def test_look_sees_files_and_links_and_leaves_out_what_no_store_takes(tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/f").write_text("x")
    (tmp_path / "link").symlink_to("deep")
    (tmp_path / ".tmp-1").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs/mine").write_text("x")
    assert set(look({"": tmp_path}, ()).files) == {"deep/er/f", "link", "outputs/mine"}
    out = tmp_path.with_suffix(".out")
    out.mkdir()
    (out / "table").write_text("x")
    assert set(look({"": tmp_path, "outputs/": out}, ()).files) == {"deep/er/f", "link", "outputs/table"}


def test_link_replaced_between_two_questions_is_flux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "latest").symlink_to("a")
    before = look({"": tmp_path}, ())

    def replaced(_: Path) -> str:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "readlink", replaced)
    now = replace(look({"": tmp_path}, ()), at=before.at + 2)
    assert not is_whole(before, now)
