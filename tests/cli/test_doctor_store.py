"""`launch doctor --store`: what a store is tried for, and what a person is told to do."""

import json
from pathlib import Path

import pytest

from launcher.adapters.store.base import LifecycleRule, ObjectStore, Span
from launcher.adapters.store.memory import MemoryStore
from launcher.adapters.store.remote import RemoteStore
from launcher.app.checkup import Finding, Verdict
from launcher.app.checkup_store import StoreCheckup
from tests.cli.past import launch
from tests.conformance.provider import Coded, MemoryProvider, failing, times

WEEKLY = LifecycleRule(prefix="", deletes=False, aborts_uploads=True)


def bucket(provider: MemoryProvider) -> RemoteStore:
    return RemoteStore("s3://bkt/runs", provider, deadline=0.0)


def found_in(store: ObjectStore) -> dict[str, Finding]:
    return {finding.check: finding for finding in StoreCheckup(store).findings()}


def test_a_good_store_passes_every_check_and_is_left_as_it_was() -> None:
    provider = MemoryProvider(rules=[WEEKLY])
    found = found_in(bucket(provider))
    assert {f.verdict for f in found.values()} == {Verdict.GOOD}
    assert list(found) == ["reachable", "create", "read", "latency", "throughput", "clock", "lifecycle", "delete"]
    assert provider.objects == {}


def test_a_store_that_ignores_create_if_absent_fails() -> None:
    class Overwriting(MemoryStore):
        def create(self, key: str, data: object) -> None:
            self.replace(key, b"".join([data]) if isinstance(data, bytes) else b"")

    found = found_in(Overwriting())["create"]
    assert (found.verdict, found.exit_code) == (Verdict.BAD, 6)
    assert "create-if-absent" in found.text


def test_a_store_that_gives_other_bytes_fails() -> None:
    class Bent(MemoryStore):
        def get(self, key: str, span: Span | None = None) -> bytes:
            return super().get(key, span)[:-1] + b"?"

    assert found_in(Bent())["read"].verdict is Verdict.BAD


def test_a_role_that_may_only_read_is_told_what_it_lacks_and_nothing_more_is_tried() -> None:
    found = found_in(bucket(MemoryProvider(before=times(9, "create", failing(Coded, "AccessDenied")))))
    assert list(found) == ["reachable"]
    assert (found["reachable"].verdict, found["reachable"].exit_code) == (Verdict.BAD, 5)
    assert "access denied" in found["reachable"].text


def test_a_role_that_may_not_delete_is_told_so() -> None:
    found = found_in(bucket(MemoryProvider(before=times(99, "delete", failing(Coded, "AccessDenied")))))
    assert (list(found)[-1], found["delete"].verdict, found["delete"].exit_code) == ("delete", Verdict.BAD, 5)


@pytest.mark.parametrize(
    ("behind_s", "verdict", "says"),
    [
        (0.0, Verdict.GOOD, "agrees"),
        (20.0, Verdict.GOOD, "ahead"),
        (100.0, Verdict.POOR, "ahead"),
        (1000.0, Verdict.BAD, "ahead"),
        (-1000.0, Verdict.BAD, "behind"),
    ],
)
def test_a_clock_that_is_off_is_told_with_the_amount(behind_s: float, verdict: Verdict, says: str) -> None:
    found = found_in(bucket(MemoryProvider(clock_is_behind=behind_s)))["clock"]
    assert found.verdict is verdict
    assert says in found.text
    assert abs(found.figures["ahead_s"] - behind_s) <= 5


@pytest.mark.parametrize(
    ("rules", "verdict", "says"),
    [
        (None, Verdict.UNTOLD, "may not be read"),
        ([], Verdict.POOR, "abandoned uploads"),
        ([WEEKLY], Verdict.GOOD, "nothing is deleted"),
        ([LifecycleRule(prefix="other/", deletes=True, aborts_uploads=True)], Verdict.POOR, "abandoned uploads"),
        ([WEEKLY, LifecycleRule(prefix="", deletes=True, aborts_uploads=False)], Verdict.POOR, "deletes everything"),
        ([WEEKLY, LifecycleRule(prefix="runs/old/", deletes=True, aborts_uploads=False)], Verdict.POOR, "deletes old/"),
    ],
)
def test_the_buckets_own_rules_are_read(rules: list[LifecycleRule] | None, verdict: Verdict, says: str) -> None:
    found = found_in(bucket(MemoryProvider(rules=rules)))["lifecycle"]
    assert found.verdict is verdict
    assert says in found.text


def test_a_folder_is_looked_at_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch("doctor", "--store", str(tmp_path / "runs"), "-o", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["store"]) == (True, (tmp_path / "runs").as_uri())
    assert {"create", "clock", "throughput"} <= {check["check"] for check in told["checks"]}


def test_a_folder_that_was_not_there_is_gone_again_and_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for folder in ("there", "there/new/runs", "of mine/runs"):
        assert launch("doctor", "--store", str(tmp_path / folder)) == 0
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_a_folder_that_cannot_be_written_fails_with_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert launch("doctor", "--store", str(tmp_path / "file" / "runs")) == 6
    assert "move that file away" in capsys.readouterr().out


def test_a_store_that_there_is_no_such_kind_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch("doctor", "--store", "s4://b") == 2
    assert "did you mean s3://" in capsys.readouterr().err
