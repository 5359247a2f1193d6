"""Checkpoint care: what there is, whether it is whole, and what is kept for good."""

from dataclasses import replace

import pytest

from launcher.adapters.store.files import FileStore
from launcher.app.home import at
from launcher.checkpoint import verify
from launcher.core.checkpoint.manifest import CommitRef, Manifest
from launcher.core.contract import METRICS_FILE, commit_key, pin_key
from launcher.core.recipe import CheckpointSpec, Keep
from launcher.retention import retain
from tests.cli.past import commit_on, document, keep, launch, preempted, unsupervised, with_checkpoints
from tests.training import scene


def flip(store: FileStore, manifest: Manifest) -> str:
    scene.flip(store, scene.key_of(manifest, scene.SHARD), bit=8 * 4100)
    return scene.SHARD


def shorten(store: FileStore, manifest: Manifest) -> str:
    key = scene.key_of(manifest, scene.SHARD)
    store.replace(key, store.get(key)[:-1])
    return "cut short"


def lose_shard(store: FileStore, manifest: Manifest) -> str:
    store.delete(scene.key_of(manifest, scene.SHARD))
    return "missing"


def lose_manifest(store: FileStore, manifest: Manifest) -> str:
    store.delete(commit_key(manifest.ref))
    return "its manifest is missing"


def garble_manifest(store: FileStore, manifest: Manifest) -> str:
    store.replace(commit_key(manifest.ref), b"{}")
    return "its manifest is garbage"


DAMAGES = [flip, shorten, lose_shard, lose_manifest, garble_manifest]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_verify_names_the_culprit_and_the_older_one_that_is_good(damage, capsys: pytest.CaptureFixture[str]):
    store, made = with_checkpoints()
    culprit = damage(store, made[-1])
    assert launch("ckpt", "verify", "r") == 6
    out = capsys.readouterr().out
    assert out.startswith("0001-0003")
    assert culprit in out.splitlines()[0]
    assert "goes on from 0001-0002, step 20, which is whole" in out


def test_verify_says_that_all_is_whole(capsys: pytest.CaptureFixture[str]):
    with_checkpoints()
    told = document(capsys, "ckpt", "verify", "r")
    assert told["good"] is True
    assert [(c["ref"], c["culprits"]) for c in told["checkpoints"]] == [(f"0001-000{n}", []) for n in (3, 2, 1)]


def test_an_older_bad_checkpoint_is_named_and_harms_nothing(capsys: pytest.CaptureFixture[str]):
    store, made = with_checkpoints()
    flip(store, made[0])
    assert launch("ckpt", "verify", "r") == 0
    assert "0001-0001  step 10  BAD" in capsys.readouterr().out


@pytest.mark.parametrize(("ref", "exit_code"), [("0001-0001", 6), ("1-1", 6), ("10", 6), ("1-2", 0), ("newest", 0)])
def test_one_checkpoint_can_be_verified_alone(ref: str, exit_code: int):
    store, made = with_checkpoints()
    flip(store, made[0])
    assert launch("ckpt", "verify", "r", ref) == exit_code


def test_a_run_whose_checkpoints_are_all_bad_is_told_how_to_start_over(capsys: pytest.CaptureFixture[str]):
    store, made = with_checkpoints()
    for manifest in made:
        flip(store, manifest)
    assert launch("ckpt", "verify", "r") == 6
    assert "`launch resume r --from 0`" in capsys.readouterr().out


def test_ls_lists_the_chain_newest_first_with_parents(capsys: pytest.CaptureFixture[str]):
    keep(preempted())
    rows = document(capsys, "ckpt", "ls", "r")["checkpoints"]
    assert rows[0]["ref"] == "0002-0007"
    assert rows[0]["finished"] is True
    assert (rows[0]["step"], rows[0]["parent"]) == (5400, "0002-0006")
    assert [row["parent"] for row in rows if row["ref"] == "0002-0001"] == ["0001-0012"]
    assert rows[-1]["parent"] is None
    assert all(row["in_history"] for row in rows)
    assert [row["kept"] for row in rows[:3]] == [True] * 3, "the newest three, as checkpoint.keep says"
    assert rows[-1]["age_s"] > rows[0]["age_s"] >= 0


@pytest.mark.parametrize("action", ["ls", "verify"])
def test_without_a_name_the_newest_run_is_meant_and_named(action: str, capsys: pytest.CaptureFixture[str]):
    keep(preempted(), "old", age_s=60)
    with_checkpoints("new")
    assert launch("ckpt", action) == 0
    told = capsys.readouterr()
    assert "new" in told.err
    assert "0001-0003" in told.out
    assert document(capsys, "ckpt", action)["run"] == "new"


@pytest.mark.parametrize("action", ["pin", "unpin"])
def test_what_changes_a_run_asks_for_its_name(action: str, capsys: pytest.CaptureFixture[str]):
    with_checkpoints()
    for words in ([], ["newest"], ["1-1"]):
        assert launch("ckpt", action, *words) == 2
        assert "needs RUN and REF" in capsys.readouterr().err


def test_ls_shows_the_newest_twenty_and_says_how_many_more_there_are(capsys: pytest.CaptureFixture[str]):
    with_checkpoints(steps=tuple(range(1, 26)))
    assert launch("ckpt", "ls", "r") == 0
    _, *rows, last = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == [f"0001-00{n:02}" for n in range(25, 5, -1)]
    assert last == "and 5 older; `launch ckpt ls r --all` lists them too"
    assert launch("ckpt", "ls", "r", "--all") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 25
    assert len(document(capsys, "ckpt", "ls", "r")["checkpoints"]) == 25


def test_ls_tells_what_retention_let_go_from_what_is_missing(capsys: pytest.CaptureFixture[str]):
    store, made = with_checkpoints(steps=(10, 20, 30, 40, 50))
    state = at(store.url).read().state
    recipe = replace(state.recipe, checkpoint=CheckpointSpec(keep=Keep(last=3)))
    retain(replace(state, recipe=recipe), store)
    store.delete(scene.key_of(made[3], scene.SHARD))
    states = {row["ref"]: (row["kept"], row["let_go"]) for row in document(capsys, "ckpt", "ls", "r")["checkpoints"]}
    assert states["0001-0001"] == states["0001-0002"] == (False, True)
    assert states["0001-0004"] == (False, False)
    assert states["0001-0005"] == (True, False)
    assert all(store.get(scene.key_of(manifest, METRICS_FILE)) for manifest in made)


def test_what_retention_let_go_is_not_called_damaged(capsys: pytest.CaptureFixture[str]):
    store, _ = with_checkpoints(steps=(10, 20, 30, 40, 50))
    retain(at(store.url).read().state, store)
    told = document(capsys, "ckpt", "verify", "r")
    assert [c["ref"] for c in told["checkpoints"]] == ["0001-0005", "0001-0004", "0001-0003"]
    assert launch("ckpt", "verify", "r", "1-1") == 2


def test_what_a_machine_let_go_of_while_no_supervisor_looked_is_not_damaged(capsys: pytest.CaptureFixture[str]):
    _, writer = unsupervised(seen=2)
    commit_on(writer, 10, 20, 30, 40, 50, 60)
    told = document(capsys, "ckpt", "verify", "r")
    assert [(c["ref"], c["culprits"]) for c in told["checkpoints"]] == [(f"0001-000{n}", []) for n in (6, 5, 4)]
    rows = document(capsys, "ckpt", "ls", "r")["checkpoints"]
    assert [row["let_go"] for row in rows] == [False] * 3 + [True] * 3
    assert all(row["in_history"] for row in rows)


def test_what_is_let_go_of_while_it_is_read_is_not_damaged(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    _, writer = unsupervised(seen=1)
    commit_on(writer, 10, 20, 30)
    look = verify.verify

    def slowly(store: FileStore, ref: CommitRef) -> list[str]:
        if ref == CommitRef(1, 2):
            commit_on(writer, 40, 50)
        return look(store, ref)

    monkeypatch.setattr(verify, "verify", slowly)
    assert [c["ref"] for c in document(capsys, "ckpt", "verify", "r")["checkpoints"]] == ["0001-0003"]


def test_a_newest_checkpoint_of_which_nothing_is_left_is_bad():
    store, made = with_checkpoints()
    for file in made[-1].files:
        store.delete(file.key)
    assert launch("ckpt", "verify", "r") == 6


def test_a_commit_that_no_grant_leads_to_is_marked_as_no_history(capsys: pytest.CaptureFixture[str]):
    store, made = with_checkpoints()
    orphan = replace(made[2], parent=made[0].ref)  # as if the newest had been restored from the oldest, past the second
    store.replace(commit_key(made[2].ref), scene.manifests.write(orphan))
    rows = {row["ref"]: row["in_history"] for row in document(capsys, "ckpt", "ls", "r")["checkpoints"]}
    assert rows == {"0001-0003": True, "0001-0002": False, "0001-0001": True}


def test_an_unreadable_manifest_keeps_its_place_in_history(capsys: pytest.CaptureFixture[str]):
    store, made = with_checkpoints()
    garble_manifest(store, made[1])
    rows = {row["ref"]: (row["in_history"], row["readable"]) for row in document(capsys, "ckpt", "ls", "r")["checkpoints"]}
    assert rows == {"0001-0003": (True, True), "0001-0002": (True, False), "0001-0001": (True, True)}


# --- pins ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ref", ["0001-0001", "1-1", "10"])
def test_a_pinned_checkpoint_outlives_retention_until_it_is_unpinned(ref: str):
    store, _ = with_checkpoints(steps=(10, 20, 30, 40, 50))
    assert launch("ckpt", "pin", "r", ref) == 0
    assert store.get(pin_key(CommitRef(1, 1)))
    retain(at(store.url).read().state, store)
    assert launch("ckpt", "verify", "r", ref) == 0
    assert launch("ckpt", "unpin", "r", ref) == 0
    retain(at(store.url).read().state, store)
    assert launch("ckpt", "verify", "r", "newest") == 0
    assert launch("ckpt", "verify", "r", ref) == 2


def test_pinning_twice_is_fine_and_unpinning_twice_says_that_it_is_not_pinned(capsys: pytest.CaptureFixture[str]):
    with_checkpoints()
    assert launch("ckpt", "pin", "r", "newest") == 0
    assert launch("ckpt", "pin", "r", "newest") == 0
    assert "pinned already" in capsys.readouterr().out
    assert launch("ckpt", "unpin", "r", "newest") == 0
    assert launch("ckpt", "unpin", "r", "newest") == 2


def test_nothing_is_pinned_whose_bytes_are_gone(capsys: pytest.CaptureFixture[str]):
    store, _ = with_checkpoints(steps=(10, 20, 30, 40, 50))
    retain(at(store.url).read().state, store)
    assert launch("ckpt", "pin", "r", "1-1") == 2
    assert "no longer there" in capsys.readouterr().err
    assert list(store.list("pins/")) == []


@pytest.mark.parametrize("action", ["pin", "unpin"])
@pytest.mark.parametrize(
    ("ref", "remedy"),
    [
        ("", "needs RUN and REF"),
        ("1-9", "ckpt ls"),
        ("15", "nearest are of 10 and 20"),
        ("last", "0003-0007"),
        ("1-x", "0003-0007"),
    ],
)
def test_a_reference_to_nothing_names_the_remedy(action: str, ref: str, remedy: str, capsys: pytest.CaptureFixture[str]):
    with_checkpoints()
    assert launch("ckpt", action, "r", *([ref] if ref else [])) == 2
    err = capsys.readouterr().err
    assert remedy in err or (action == "unpin" and "is not pinned" in err)


def test_what_helps_names_a_run_by_its_url_where_it_was_named_so(capsys: pytest.CaptureFixture[str]):
    store, made = with_checkpoints()
    assert launch("ckpt", "unpin", store.url, "0001-0001") == 2
    assert f"`launch ckpt ls {store.url}`" in capsys.readouterr().err
    for manifest in made:
        flip(store, manifest)
    assert launch("ckpt", "verify", store.url) == 6
    assert f"`launch resume {store.url} --from 0`" in capsys.readouterr().out
