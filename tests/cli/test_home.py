"""Runs are found by what people type; the code of a run is frozen the same way on every machine."""

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from launcher import codec
from launcher.adapters.store.files import FileStore
from launcher.app import code, staying
from launcher.app.home import Found, Home, addressed, at, find
from launcher.app.names import checked_name, random_name
from launcher.app.opening import create
from launcher.core.contract import RUN_KEY, RunHead
from launcher.core.recipe import Recipe
from launcher.errors import StoreUnusable, UsageError
from tests.cli.past import forbidden, launch, note

RECIPE = Recipe(name="r", run="true")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def seen(home: Home, run: str, *, created_at: float = 0.0, folder: Path | None = None) -> Found:
    """A run in the home's index."""
    store = FileStore((folder or home.path / "runs") / run)
    head = RunHead(run=run, incarnation=f"i{run}", created_at=created_at, launch_version="0")
    store.create(RUN_KEY, codec.dumps_digested(head))
    home.note(Found(store=store, head=head))
    return at(store.url)


def test_a_run_is_found_by_name_unique_prefix_and_store_url(home: Home):
    run = seen(home, "quiet-otter-7f3a")
    seen(home, "quick-fox-0001")
    for text in ("quiet-otter-7f3a", "quie", run.store.url, str(home.path / "runs" / "quiet-otter-7f3a")):
        assert find(home, text).head == run.head


def test_a_whole_name_wins_over_a_longer_one_that_it_begins(home: Home):
    seen(home, "tuned")
    seen(home, "tuned-2")
    assert find(home, "tuned").head.run == "tuned"


def test_an_ambiguous_prefix_names_the_candidates(home: Home):
    seen(home, "quiet-otter-7f3a")
    seen(home, "quiet-owl-0001")
    with pytest.raises(UsageError, match=r"quiet-otter-7f3a, quiet-owl-0001"):
        find(home, "quiet-o")


def test_an_unknown_name_suggests_the_nearest(home: Home):
    seen(home, "quiet-otter-7f3a")
    with pytest.raises(UsageError, match=r"did you mean quiet-otter-7f3a\?"):
        find(home, "quite-otter-7f3a")


def test_without_a_name_the_newest_run_is_meant_and_lost_ones_are_passed_over(home: Home):
    seen(home, "old", created_at=1.0)
    seen(home, "new", created_at=2.0)
    lost = seen(home, "lost", created_at=3.0)
    lost.store.delete(RUN_KEY)
    assert find(home, None).head.run == "new"


def test_a_run_in_another_folder_is_found_through_the_index(home: Home, tmp_path: Path):
    seen(home, "elsewhere", folder=tmp_path / "disk")
    assert find(home, "else").store.url.endswith("/disk/elsewhere")


def test_a_copy_keeps_its_originals_name_and_neither_is_guessed_at(home: Home, tmp_path: Path):
    here, copy = seen(home, "otter"), seen(home, "otter", folder=tmp_path / "disk")
    with pytest.raises(UsageError, match="2 runs are called otter") as refused:
        find(home, "ott")
    assert here.store.url in str(refused.value)
    assert copy.store.url in str(refused.value)
    assert find(home, copy.store.url).store.url == copy.store.url


def test_a_copy_that_lies_in_the_home_and_was_never_noted_is_not_passed_over(home: Home, tmp_path: Path):
    seen(home, "otter", folder=tmp_path / "disk")
    shutil.copytree(tmp_path / "disk" / "otter", home.path / "runs" / "otter")
    with pytest.raises(UsageError, match="2 runs are called otter"):
        find(home, "otter")


def test_a_run_that_was_moved_is_found_where_it_is(home: Home, tmp_path: Path):
    old = seen(home, "otter")
    seen(home, "other")
    shutil.move(home.path / "runs" / "otter", tmp_path / "disk" / "otter")
    with pytest.raises(UsageError, match="there is no run at"):
        find(home, "otter")
    moved = seen(home, "otter", folder=tmp_path / "elsewhere")
    assert old.store.url != find(home, "otter").store.url == moved.store.url
    assert {old.store.url, moved.store.url} <= {entry.store for entry in home.entries()}, "only `rm` forgets a place"


def test_a_run_whose_disk_is_not_mounted_keeps_its_entry_when_a_namesake_is_noted(home: Home, tmp_path: Path):
    away = seen(home, "otter", folder=tmp_path / "disk" / "runs")
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    near = seen(home, "otter")
    with pytest.raises(UsageError, match="2 runs are called otter"):
        find(home, "otter")
    (tmp_path / "unmounted").rename(tmp_path / "disk")
    assert set(home.places()["otter"]) == {away.store.url, near.store.url}


@pytest.mark.parametrize("is_mount_point_left", [False, True])
@pytest.mark.parametrize("named", ["otter", "file://{}", "{}", "file://{}/"])
def test_a_run_whose_disk_is_not_mounted_is_not_called_lost(is_mount_point_left: bool, named: str, home: Home, tmp_path: Path):
    away = seen(home, "otter", folder=tmp_path / "disk")
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    if is_mount_point_left:
        (tmp_path / "disk").mkdir()
    with pytest.raises(StoreUnusable, match=r"nothing is in file://\S*/disk, where \S*/otter was: is its disk mounted\? moved\?"):
        find(home, named.format(away.store.url.removeprefix("file://")))


def test_a_namesake_noted_again_keeps_its_entry(home: Home, tmp_path: Path):
    seen(home, "otter")
    copy = seen(home, "otter", folder=tmp_path / "disk")
    home.note(copy)
    assert len(home.entries()) == 2


def test_a_run_whose_folder_has_another_name_is_gone_on_with_by_its_url(home: Home):
    seen(home, "otter")
    shutil.copytree(home.path / "runs" / "otter", home.path / "runs" / "otter-copy")
    copy, original = find(home, "otter-copy"), find(home, "otter")
    assert copy.addressed("launch resume otter") == f"launch resume {copy.store.url}"
    assert original.addressed("launch resume otter") == "launch resume otter"


@pytest.mark.parametrize(
    ("run", "text", "told"),
    [
        ("r", "go on with `launch resume r policy.budget=2`", "go on with `launch resume URL policy.budget=2`"),
        ("r", "look with launch status -w r.", "look with launch status -w URL."),
        ("r", "launch ckpt ls r --all", "launch ckpt ls URL --all"),
        ("r", "launch train r.yaml local.speed=90", None),
        ("r", "launch train r", None),
        ("r", "launch logs r.old, launch logs r-2, launch logs r/x", None),
        ("contract", "launch help contract", None),
        ("quickstart", "launch train quickstart", None),
        ("ls", "`launch ckpt ls` and `launch recipes ls`", None),
    ],
)
def test_only_what_names_the_run_in_a_command_becomes_its_url(run: str, text: str, told: str | None):
    assert addressed(text, run, "URL") == (told or text)


def test_a_name_is_taken_once_its_run_was_born(home: Home):
    create(home, RECIPE, "mine")
    with pytest.raises(UsageError, match="launch resume mine"):
        create(home, RECIPE, "mine")


def test_a_name_that_is_taken_is_refused_before_anything_is_said_of_a_run(capsys: pytest.CaptureFixture[str]):
    note("mine")
    assert launch("train", "tiny", "-n", "mine") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("launch: a run named mine exists already")


def test_debris_of_a_run_that_was_never_born_is_no_run(home: Home):
    FileStore(home.path / "runs" / "mine").create("recipe.yaml", b"half of it")
    assert create(home, RECIPE, "mine").head.run == "mine"


@pytest.mark.parametrize("name", ["", "-x", "x-", "X", "a b", "a/b", "a" * 41, "ä"])
def test_names_that_clouds_would_refuse_are_refused(name: str):
    with pytest.raises(UsageError, match="--name"):
        checked_name(name)


def test_random_names_are_names():
    assert all(checked_name(random_name()) for _ in range(200))


# --- code --------------------------------------------------------------------------------------------------------------------


def workdir(root: Path, *, touched_at: float) -> Path:
    for name, text in {"train.py": "print()", "lib/util.py": "x = 1", ".git/HEAD": "ref", "lib/__pycache__/u.pyc": "…"}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (touched_at, touched_at))
    (root / "train.py").chmod(0o700)
    return root


def test_equal_code_gives_equal_archives_without_what_no_program_needs(tmp_path: Path):
    first, second = (code.packed(workdir(tmp_path / name, touched_at=at)) for name, at in (("a", 1e9), ("b", 1.5e9)))
    assert first == second
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        assert tar.getnames() == ["lib", "lib/util.py", "train.py"]
        assert tar.getmember("train.py").mode == 0o755


def names_in(archive: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name for member in tar if not member.isdir()}


def repository(root: Path) -> Path:
    """With a tracked file, ignored ones, and one that git does not know yet."""
    files = {".gitignore": "data/\n*.key\n", "train.py": "", "new.py": "", "data/all.bin": "…", "lib/a.key": "…", "lib/a.py": ""}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for words in (["init", "-q"], ["add", "train.py"]):
        subprocess.run(["git", "-C", str(root), *words], check=True)
    return root


def test_what_git_ignores_stays_at_home_and_is_named(tmp_path: Path):
    root = repository(tmp_path / "a")
    assert names_in(code.packed(root)) == {".gitignore", "train.py", "new.py", "lib/a.py"}
    assert names_in(code.packed(root / "lib")) == {"a.py"}
    assert code.left_behind(root) == ["data", "lib/a.key"]
    assert "data, lib/a.key" in staying.told(code.left_behind(root))
    subprocess.run(["git", "-C", str(root), "add", "-f", "data/all.bin"], check=True)
    assert "data/all.bin" in names_in(code.packed(root)), "the remedy that is named"


def test_what_the_git_of_a_repository_inside_ignores_stays_at_home_too(tmp_path: Path):
    root = repository(tmp_path / "a")
    repository(root / "part")
    assert code.left_behind(root) == ["data", "lib/a.key", "part/data", "part/lib/a.key"]
    assert code.left_behind(tmp_path) == [f"a/{name}" for name in code.left_behind(root)], "one that is in no repository itself"


def test_a_repository_that_ignores_all_but_what_it_names_keeps_the_rest_at_home(tmp_path: Path):
    root = repository(tmp_path / "a")
    (root / ".gitignore").write_text("*\n!new.py\n")
    assert names_in(code.packed(root)) == {"train.py", "new.py"}
    subprocess.run(["git", "-C", str(root), "rm", "-q", "--cached", "train.py"], check=True)
    assert names_in(code.packed(root)) == {"new.py"}, "before anything of it is tracked"


def test_a_repository_whose_own_folder_is_lost_is_not_taken_for_none(tmp_path: Path):
    root = repository(tmp_path / "a")
    shutil.rmtree(root / ".git")
    (root / ".git").write_text(f"gitdir: {tmp_path / 'gone'}\n")
    with pytest.raises(UsageError, match=r"git does not say what it ignores in .*: fatal: not a git repository"):
        code.packed(root)


def test_a_workdir_that_lies_in_what_git_ignores_is_meant_as_a_whole(tmp_path: Path):
    assert names_in(code.packed(repository(tmp_path / "a") / "data")) == {"all.bin"}


def test_a_file_of_secrets_stays_at_home_in_a_repository_or_not(tmp_path: Path):
    for folder in (repository(tmp_path / "a"), workdir(tmp_path / "b", touched_at=1e9)):
        for name in (".env", ".env.local", "lib/.netrc"):
            (folder / name).write_text("TOKEN=…")
        subprocess.run(["git", "-C", str(tmp_path / "a"), "add", "-f", ".env"], check=True)
        assert not {".env", ".env.local", "lib/.netrc"} & names_in(code.packed(folder))
        assert {".env", ".env.local", "lib/.netrc"} <= set(code.left_behind(folder))


def test_our_own_package_travels_whole_though_git_ignores_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = repository(tmp_path / "a") / "lib"
    monkeypatch.setattr(code.launcher, "__file__", str(package / "__init__.py"))
    store = FileStore(tmp_path / "store")
    assert names_in(store.get(code.frozen_agent(store))) == {"a.key", "a.py"}


def test_where_git_will_not_say_what_it_ignores_nothing_travels(tmp_path: Path):
    root = repository(tmp_path / "a")
    (root / ".git/config").write_text("[core\n")
    with pytest.raises(UsageError, match=r"git does not say what it ignores in .*: fatal: bad config"):
        code.packed(root)


def test_a_repository_of_another_user_is_refused_with_gits_own_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = repository(tmp_path / "a")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its tests
    with pytest.raises(UsageError, match=r"dubious ownership .* git config --global --add safe.directory"):
        code.packed(root)


def test_a_folder_that_was_moved_is_refused_with_how_to_name_it_anew(tmp_path: Path):
    with pytest.raises(UsageError, match=r"gone is no folder any more; .* workdir=\."):
        code.packed(tmp_path / "gone")


def test_frozen_code_is_named_by_its_digest_and_made_once(tmp_path: Path):
    store = FileStore(tmp_path / "store")
    folder = str(workdir(tmp_path / "a", touched_at=1e9))
    key = code.frozen_code(store, folder)
    assert key is not None
    assert code.frozen_code(store, folder) == key
    assert [meta.key for meta in store.list("code/")] == [key]
    assert code.frozen_code(store, None) is None


def test_a_link_that_leads_out_of_the_workdir_is_refused(tmp_path: Path):
    folder = workdir(tmp_path / "a", touched_at=1e9)
    (folder / "inside").symlink_to("lib/util.py")
    code.packed(folder)
    (folder / "outside").symlink_to("../secret")
    with pytest.raises(UsageError, match="leads out of it"):
        code.packed(folder)


def test_a_workdir_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(code, "CODE_BYTES_MAX", 10)
    with pytest.raises(UsageError, match="keep data out of it"):
        code.packed(workdir(tmp_path / "a", touched_at=1e9))


def test_a_home_that_may_not_be_read_is_not_taken_for_an_empty_one(home: Home):
    seen(home, "one")
    with forbidden(home.path), pytest.raises(UsageError, match="cannot be read: Permission denied; name another with --home"):
        home.entries()
