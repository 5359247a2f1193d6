"""What every store promises, and what the folder store promises on top: nothing torn, one winner, clear refusals."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.adapters import durable
from launcher.adapters.store.base import ObjectMeta, ObjectStore, Span
from launcher.adapters.store.files import FileStore
from launcher.adapters.store.open import child, open_store
from launcher.errors import KeyExists, KeyMissing, StoreUnknown, StoreUnusable, UsageError

REPOSITORY = Path(__file__).parents[2]

# --- every store -----------------------------------------------------------------------------------------------------------


def test_what_was_created_is_read(store: ObjectStore) -> None:
    store.create("a/b.json", b"whole")
    assert store.get("a/b.json") == b"whole"


def test_a_stream_of_chunks_becomes_one_object(store: ObjectStore) -> None:
    store.create("a", (bytes([n]) * 1000 for n in range(5)))
    assert store.get("a") == b"".join(bytes([n]) * 1000 for n in range(5))


def test_an_object_may_be_empty(store: ObjectStore) -> None:
    store.create("a", b"")
    assert store.get("a") == b""
    assert list(store.list("")) == [ObjectMeta("a", 0)]


def test_a_second_create_is_refused_and_changes_nothing(store: ObjectStore) -> None:
    store.create("a", b"first")
    with pytest.raises(KeyExists) as refusal:
        store.create("a", b"second")
    assert refusal.value.key == "a"
    assert store.get("a") == b"first"


def test_a_second_create_is_refused_for_equal_bytes_too(store: ObjectStore) -> None:
    store.create("a", b"same")
    with pytest.raises(KeyExists):
        store.create("a", b"same")


def test_a_missing_key_is_said_to_be_missing(store: ObjectStore) -> None:
    store.create("a/b", b"x")
    for key in ("z", "a", "a/c", "q/r/s"):
        with pytest.raises(KeyMissing) as missing:
            store.get(key)
        assert missing.value.key == key


def test_a_span_is_cut_at_the_end_of_the_object(store: ObjectStore) -> None:
    store.create("a", b"0123456789")
    assert store.get("a", Span(2, 5)) == b"234"
    assert store.get("a", Span(8, 100)) == b"89"
    assert store.get("a", Span(50, 60)) == b""
    assert store.get("a", Span(3, 3)) == b""


def test_replace_makes_and_overwrites(store: ObjectStore) -> None:
    store.replace("a/heartbeat.json", b"one, and longer")
    store.replace("a/heartbeat.json", b"two")
    assert store.get("a/heartbeat.json") == b"two"
    with pytest.raises(KeyExists):
        store.create("a/heartbeat.json", b"three")


def test_list_gives_keys_in_order_with_their_sizes(store: ObjectStore) -> None:
    keys = ("b", "a/c/d", "a-b", "a/b", "a.b", "a/c-d", "ab")
    for key in reversed(keys):
        store.create(key, key.encode())
    assert list(store.list("")) == [ObjectMeta(key, len(key)) for key in sorted(keys)]


def test_nothing_is_listed_below_an_object(store: ObjectStore) -> None:
    store.create("a", b"1")
    assert list(store.list("a/b")) == []
    assert list(store.list("a/")) == []


def test_list_takes_any_prefix_not_only_a_folder(store: ObjectStore) -> None:
    for key in ("runs/quiet-1/x", "runs/quiet-2/y", "runs/loud/z", "run"):
        store.create(key, b"")
    assert [m.key for m in store.list("runs/quiet")] == ["runs/quiet-1/x", "runs/quiet-2/y"]
    assert [m.key for m in store.list("runs/quiet-1/")] == ["runs/quiet-1/x"]
    assert [m.key for m in store.list("runs/quiet-1/x")] == ["runs/quiet-1/x"]
    assert list(store.list("nothing/here")) == []


def test_delete_removes_and_may_be_repeated(store: ObjectStore) -> None:
    store.create("a/b/c", b"x")
    store.create("a/d", b"y")
    for _ in range(2):
        store.delete("a/b/c")
    assert [m.key for m in store.list("")] == ["a/d"]
    with pytest.raises(KeyMissing):
        store.get("a/b/c")
    store.create("a/b/c", b"again")
    assert store.get("a/b/c") == b"again"


def test_a_failing_source_leaves_nothing_and_its_own_error_comes_out(store: ObjectStore) -> None:
    def source() -> Iterator[bytes]:
        yield b"the first half"
        raise FileExistsError(errno.EEXIST, "of the source, not of the store")

    with pytest.raises(FileExistsError, match="of the source"):
        store.create("a/b", source())
    assert list(store.list("")) == []
    store.create("a/b", b"whole")


# --- URLs ------------------------------------------------------------------------------------------------------------------


def test_a_store_is_opened_again_by_its_url(tmp_path: Path) -> None:
    for url in (str(tmp_path / "with space"), (tmp_path / "per%cent #?").as_uri(), "memory://test-urls"):
        first = open_store(url)
        first.create("a", url.encode())
        assert open_store(first.url).get("a") == url.encode()


def test_child_names_a_store_inside_another(tmp_path: Path) -> None:
    for url in (str(tmp_path / "plain path"), (tmp_path / "a b").as_uri()):
        open_store(child(url, "run-1")).create("x", b"in the child")
        assert open_store(url).get("run-1/x") == b"in the child"
    assert child("memory://", "run-1") == "memory://run-1"
    assert child("file:///runs/", "a b") == "file:///runs/a%20b"


def test_a_relative_path_does_not_move_with_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("here")
    monkeypatch.chdir("/")
    store.create("a", b"x")
    assert (tmp_path / "here" / "a").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://", "names no bucket; write s3://BUCKET/FOLDER"),
        ("gs:///folder", "names no bucket"),
        ("s3://KEY:SECRET@bucket/x", "no key or query"),
        ("az://c/x?sig=SECRET", "no key or query"),
        ("fille:///x", "did you mean file://"),
        ("ftp://x", "known are a plain path, file, memory, s3, gs, az, abfs"),
        ("file://runs/x", "three slashes"),
        ("file://", "three slashes"),
    ],
)
def test_a_url_that_cannot_be_opened_is_a_usage_error_with_its_remedy(url: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as refusal:
        open_store(url)
    assert "SECRET" not in str(refusal.value)


# --- the folder store: whole or absent ---------------------------------------------------------------------------------------

# A writer that kills itself at its n-th step on the disk. `sys.argv`: root, n, create | replace.
KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from launcher.adapters.store.files import FileStore

root, fatal_step, verb = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
num_steps = 0

def deadly(call):
    def step(*args, **kwargs):
        global num_steps
        num_steps += 1
        if num_steps == fatal_step:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return step

for name in ("open", "write", "fsync", "link", "replace", "unlink", "mkdir", "close"):
    setattr(os, name, deadly(getattr(os, name)))
if verb == "create":
    FileStore(root).create("a/b", (b"x" * 70_000 for _ in range(3)))
else:
    FileStore(root).replace("a/b", b"new")
print(num_steps)
"""


def run_child(script: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, args)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)


def num_steps_of(verb: str, root: Path) -> int:
    return int(run_child(KILLED_WRITER, root, 0, verb).stdout)


def make_old(root: Path, age_s: float) -> None:
    for path in root.rglob("*"):
        os.utime(path, (time.time() - age_s, time.time() - age_s))


def test_a_create_killed_at_any_step_shows_the_whole_object_or_none(tmp_path: Path) -> None:
    num_steps = num_steps_of("create", tmp_path / "whole")
    assert num_steps >= 12
    seen = set()
    for fatal_step in range(1, num_steps + 1):
        root = tmp_path / str(fatal_step)
        assert run_child(KILLED_WRITER, root, fatal_step, "create").returncode == -9
        seen.add(tuple(FileStore(root).list("")))
        make_old(root, 61)
        try:
            FileStore(root).create("a/b", b"the next writer's")
        except KeyExists:
            assert FileStore(root).get("a/b") == b"x" * 210_000
        assert [p.name for p in root.rglob("*") if p.is_file()] == ["b"], "debris was swept"
    assert seen == {(), (ObjectMeta("a/b", 210_000),)}


def test_a_replace_killed_at_any_step_shows_the_old_bytes_or_the_new(tmp_path: Path) -> None:
    num_steps = num_steps_of("replace", tmp_path / "whole")
    seen = set()
    for fatal_step in range(1, num_steps):
        root = tmp_path / str(fatal_step)
        FileStore(root).create("a/b", b"old")
        run_child(KILLED_WRITER, root, fatal_step, "replace")
        seen.add(FileStore(root).get("a/b"))
        assert [m.key for m in FileStore(root).list("")] == ["a/b"]
    assert seen == {b"old", b"new"}


def test_bytes_are_synced_before_their_name_and_the_folder_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def noted(name: str) -> None:
        call = getattr(os, name)

        def step(*args: object, **kwargs: object) -> object:
            steps.append(name)
            return call(*args, **kwargs)

        monkeypatch.setattr(os, name, step)

    tmp_path.joinpath("a").mkdir()
    for name in ("write", "fsync", "link", "replace", "unlink"):
        noted(name)
    durable.create_durably(tmp_path / "a" / "x", [b"1", b"2"])
    assert steps == ["write", "write", "fsync", "link", "unlink", "fsync"]
    steps.clear()
    durable.replace_durably(tmp_path / "a" / "x", b"3")
    assert [s for s in steps if s != "unlink"] == ["write", "fsync", "replace", "fsync"]
    steps.clear()
    durable.replace_atomically(tmp_path / "a" / "x", b"4")
    assert [s for s in steps if s != "unlink"] == ["write", "replace"]
    assert (tmp_path / "a" / "x").read_bytes() == b"4"


RACER = """
import sys
from pathlib import Path
from launcher.adapters.store.files import FileStore
from launcher.errors import KeyExists

root, me, races = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = FileStore(root)
print("ready", flush=True)
sys.stdin.readline()
for race in range(races):
    try:
        store.create(f"race/{race:03d}", me.encode() * 5000)
    except KeyExists:
        continue
    print(race)
"""


def test_of_four_processes_racing_to_create_one_wins_each_race(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACER, str(tmp_path)]
    pipe = subprocess.PIPE
    racers = [
        subprocess.Popen([*command, me, "100"], cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True) for me in ("a", "b", "c", "d")
    ]
    for racer in racers:
        assert racer.stdout is not None
        racer.stdout.readline()
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = {me: racer.communicate(timeout=120)[0].split() for me, racer in zip("abcd", racers, strict=True)}
    assert sorted(int(race) for races in won.values() for race in races) == list(range(100))
    for me, races in won.items():
        for race in races:
            assert FileStore(tmp_path).get(f"race/{int(race):03d}") == me.encode() * 5000
    assert len(list(tmp_path.rglob("*"))) == 101, "losers leave nothing"


def test_asides_are_invisible_and_only_abandoned_ones_are_swept(tmp_path: Path) -> None:
    dead = run_child("import os; print(os.getpid())").stdout.strip()
    folder = tmp_path / "a"
    folder.mkdir()
    ages = {
        f".tmp-{os.getpid()}-live": 3600.0,
        f".tmp-{dead}-dead": 61.0,
        f".tmp-{dead}-fresh": 1.0,
        f".tmp-{os.getpid()}-old": 90000.0,
    }
    for name, age_s in ages.items():
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age_s, time.time() - age_s))
    store = FileStore(tmp_path)
    assert list(store.list("")) == []
    assert len(list(folder.iterdir())) == 4, "a reader deletes nothing"
    store.create("b", b"x")
    assert {p.name for p in folder.iterdir()} == {f".tmp-{os.getpid()}-live", f".tmp-{dead}-fresh"}


def test_delete_leaves_no_empty_folders_and_keeps_the_root(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "root")
    store.create("a/b/c", b"x")
    store.delete("a/b/c")
    assert list((tmp_path / "root").iterdir()) == []


# --- the folder store: refusals ----------------------------------------------------------------------------------------------


def test_a_root_that_is_gone_is_an_outage_and_not_made_anew(tmp_path: Path) -> None:
    """As where its disk was unmounted: the journal went on below the empty mount point, and was forked once the disk was back."""
    disk, away = tmp_path / "disk", tmp_path / "away"
    store = FileStore(disk / "run")
    store.create("a", b"x")
    assert store.get("a") == b"x"
    disk.rename(away)
    disk.mkdir()
    attempts: list[Callable[[], object]] = [
        lambda: store.create("b", b"y"),
        lambda: store.replace("a", b"y"),
        lambda: store.get("a"),
        lambda: list(store.list("")),
    ]
    for attempt in attempts:
        with pytest.raises(StoreUnknown, match=r"disk/run.*is its disk mounted"):
            attempt()
    assert list(disk.iterdir()) == []
    disk.rmdir()
    away.rename(disk)
    store.create("b", b"y")
    assert [meta.key for meta in store.list("")] == ["a", "b"]


def test_a_path_below_a_regular_file_is_unusable_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = FileStore(tmp_path / "file" / "runs")
    attempts: list[Callable[[], object]] = [
        lambda: store.create("a/b", b"x"),
        lambda: store.replace("a", b"x"),
        lambda: store.get("a"),
        lambda: store.delete("a"),
        lambda: list(store.list("")),
    ]
    for attempt in attempts:
        with pytest.raises(StoreUnusable, match=r"file/runs.*is a file, not a folder.*checkpoint\.dir"):
            attempt()


def test_a_root_that_is_a_file_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnusable, match="is a file, not a folder"):
        FileStore(tmp_path / "file").create("a", b"x")


FULL_DISK = """
import resource, sys
from pathlib import Path
from launcher.adapters.store.files import FileStore
from launcher.errors import StoreUnusable

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store = FileStore(Path(sys.argv[1]))
for write in (lambda: store.create("a/b", (b"x" * 60_000 for _ in range(3))), lambda: store.replace("a/c", b"x" * 200_000)):
    try:
        write()
    except StoreUnusable as error:
        print(error)
store.create("a/small", b"still works")
"""


def test_a_full_disk_is_unusable_leaves_no_debris_and_smaller_objects_still_fit(tmp_path: Path) -> None:
    child_process = run_child(FULL_DISK, tmp_path)
    assert child_process.returncode == 0, child_process.stderr
    first, second = child_process.stdout.splitlines()
    assert "a/b: a file may not grow so large here; raise RLIMIT_FSIZE" in first
    assert "a/c" in second
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["small"]


@pytest.mark.parametrize(
    ("failing", "number", "outcome", "says"),
    [
        ("fsync", errno.ENOSPC, StoreUnusable, "the disk is full"),
        ("write", errno.EDQUOT, StoreUnusable, "quota"),
        ("open", errno.EROFS, StoreUnusable, "read-only"),
        ("open", errno.EACCES, StoreUnusable, "permission denied"),
        ("fsync", errno.EIO, StoreUnknown, "no answer"),
        ("open", errno.EMFILE, StoreUnknown, "no answer"),
    ],
)
def test_errors_of_the_disk_are_sorted_into_hopeless_and_passing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, number: int, outcome: type[Exception], says: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    store = FileStore(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, failing, fail)
        with pytest.raises(outcome, match=says):
            store.create("a", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_hard_links_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(source), None, str(target))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreUnusable, match="no hard links"):
        FileStore(tmp_path).create("a", b"x")


def test_a_link_that_was_made_although_reported_taken_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def answer_lost(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", answer_lost)
    FileStore(tmp_path).create("a", b"x")
    assert FileStore(tmp_path).get("a") == b"x"
