"""Everything that crosses between processes: read back equal, always the same bytes, and no bytes break a reader."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher import codec
from launcher.core import contract
from launcher.core.checkpoint import manifest as manifests
from launcher.core.checkpoint.manifest import Commit
from launcher.core.plan.planner import Plan
from launcher.core.run.events import Event
from launcher.errors import StoreUnusable
from tests.properties import values

KINDS = {
    "event": Event,
    "commit": Commit,
    "plan": Plan,
    "head": contract.RunHead | contract.RunRemoval,
    "spec": contract.AttemptSpec,
    "claim": contract.Claim,
    "heartbeat": contract.Heartbeat,
    "notice": contract.Notice,
    "exit": contract.ExitReport,
    "request": contract.Request,
    "beacon": contract.Beacon,
    "pin": contract.Pin,
    "reference": contract.Reference,
    "progress": contract.TrainerProgress,
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


FEW = settings(max_examples=settings().max_examples // 8)  # of each of many kinds


@kinds
@FEW
@given(data=st.data())
def test_every_value_is_read_back_equal_and_written_as_the_same_bytes(kind: Any, data: st.DataObject) -> None:
    value = data.draw(values.of(kind))
    written = codec.dumps_digested(value)
    again = codec.loads_digested(kind, written)
    assert again == value
    assert codec.dumps_digested(again) == written
    assert json.dumps(json.loads(written), sort_keys=True, separators=(",", ":")).encode() == written, "not canonical"


@kinds
@FEW
@given(data=st.data())
def test_what_a_newer_writer_added_is_ignored_at_every_depth(kind: Any, data: st.DataObject) -> None:
    value = data.draw(values.of(kind))
    assert codec.decode(kind, with_news(codec.encode(value))) == value


def with_news(raw: Any) -> Any:
    """`raw` with a field more in each object of a class."""
    if isinstance(raw, dict):
        inner = {key: with_news(part) for key, part in raw.items()}
        return {**inner, "a_field_of_tomorrow": [1]} if "is" in raw and isinstance(raw["is"], str) else inner
    return [with_news(part) for part in raw] if isinstance(raw, list) else raw


@kinds
@FEW
@given(raw=values.jsons | st.dictionaries(st.sampled_from(["is", "at", "attempt", "ref", "version"]), values.jsons))
def test_any_json_is_a_value_or_a_value_error(kind: Any, raw: Any) -> None:
    try:
        value = codec.loads(kind, json.dumps(raw))
    except ValueError:
        return
    assert codec.loads(kind, codec.dumps(value)) == value


@kinds
@FEW
@given(data=st.data())
def test_a_value_with_one_part_replaced_is_a_value_or_a_value_error(kind: Any, data: st.DataObject) -> None:
    raw = codec.encode(data.draw(values.of(kind)))
    part = data.draw(st.sampled_from(sorted(raw)))
    raw[part] = data.draw(values.jsons)
    try:
        codec.decode(kind, raw)
    except ValueError:
        return


@kinds
@FEW
@given(garbage=st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_value_error(kind: Any, garbage: bytes) -> None:
    for read in (codec.loads, codec.loads_digested):
        try:
            read(kind, garbage)
        except ValueError:
            continue


NESTED = b"[" * 100_000


@pytest.mark.parametrize("data", [NESTED, b'{"a":' * 100_000, b"1e999", b"NaN", b"[Infinity]", b"9" * 5000, b'"\\ud800"'])
def test_bytes_made_to_break_a_reader_are_a_value_or_a_value_error(data: bytes) -> None:
    envelope = b'{"body":' + data + b',"sha256":"' + codec.digest_of(data).encode() + b'"}'
    for kind in KINDS.values():
        with pytest.raises(ValueError):
            codec.loads(kind, data)
        with pytest.raises(ValueError):
            codec.loads_digested(kind, envelope)


@given(garbage=st.binary(max_size=60), version=st.integers())
def test_a_manifest_is_read_refused_as_damaged_or_named_as_newer(garbage: bytes, version: int) -> None:
    with pytest.raises(ValueError):
        manifests.read(garbage)
    newer = codec.dumps({"is": "Manifest", "version": version})
    envelope = b'{"body":' + newer + b',"sha256":"' + codec.digest_of(newer).encode() + b'"}'
    with pytest.raises(StoreUnusable if version > manifests.MANIFEST_VERSION else ValueError):
        manifests.read(envelope)
