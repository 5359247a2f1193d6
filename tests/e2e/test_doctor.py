"""`launch doctor --store` on real servers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.adapters.store.open import open_store
from tests.e2e.conftest import Faulty, Remote


def doctor(url: str) -> tuple[int, dict[str, object], str]:
    command = [str(Path(sys.executable).with_name("launch")), "doctor", "--store", url, "-o", "json"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    return told.returncode, json.loads(told.stdout), told.stderr


def test_a_server_is_found_good_and_nothing_is_left_there(remote: Remote) -> None:
    exit_code, told, noise = doctor(remote.url)
    assert exit_code == 0
    assert told["ok"] is True
    assert noise.count("\n") == 1, "libraries say nothing of their own"
    assert list(open_store(remote.url).list("")) == []


def test_a_store_that_ignores_create_if_absent_is_refused(faulty: Faulty) -> None:
    if faulty.kind.scheme != "s3":
        pytest.skip("only Amazon's own name for it is known")
    faulty.proxy.add("^PUT ", "status", status=501, body=b"<Error><Code>NotImplemented</Code></Error>", count=None)
    exit_code, told, _ = doctor(faulty.url)
    assert exit_code == 6
    assert "create-if-absent" in json.dumps(told)
