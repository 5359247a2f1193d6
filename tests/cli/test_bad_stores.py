"""A store that would let a second writer through is refused before anything is begun or gone on with."""

from pathlib import Path

import pytest

from launcher.adapters.store.files import FileStore
from launcher.adapters.store.probe import PROBES_PREFIX
from tests.cli.past import everything, keep, launch, out_of_budget


@pytest.fixture
def _overwriting(monkeypatch: pytest.MonkeyPatch) -> None:
    create = FileStore.create

    def overwrites_probes(store: FileStore, key: str, data: bytes) -> None:
        if key.startswith(PROBES_PREFIX):
            store.replace(key, data)
        else:
            create(store, key, data)

    monkeypatch.setattr(FileStore, "create", overwrites_probes)


@pytest.mark.usefixtures("_overwriting")
def test_no_run_is_born_in_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert launch("train", "tiny", "-n", "r", f"checkpoint.dir={tmp_path}") == 6
    assert "create-if-absent" in capsys.readouterr().err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_none_is_gone_on_with(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> None:
    keep(out_of_budget())
    before = everything()
    request.getfixturevalue("_overwriting")
    assert launch("resume", "r", "policy.budget=100") == 6
    assert "create-if-absent" in capsys.readouterr().err
    assert everything() == before
