"""The log: one event, one line, no secret."""

import io
import json
from collections.abc import Iterator

import pytest

from launcher import log
from launcher.log import Level, Sink


@pytest.fixture(autouse=True)
def stderr_again() -> Iterator[None]:
    yield
    log.configure(Sink())


def text_of(*, as_json: bool = False, lowest: Level = Level.INFO) -> io.StringIO:
    stream = io.StringIO()
    log.configure(Sink(stream=stream, as_json=as_json, lowest=lowest))
    return stream


def test_people_read_the_event_and_its_fields() -> None:
    stream = text_of()
    log.warning("attempt_lost", attempt=3, cause="two words", lost_s=41.0)
    assert stream.getvalue().endswith('warning attempt_lost attempt=3 cause="two words" lost_s=41\n')


def test_machines_read_one_json_object_a_line() -> None:
    stream = text_of(as_json=True)
    log.info("attempt_lost", zone="us-east-1b", lost_s=41.0)
    log.info("attempt_started", attempt=4)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["event"], first["level"], first["lost_s"]) == ("attempt_lost", "info", 41.0)
    assert second["attempt"] == 4


def test_debug_is_silent_unless_asked_for() -> None:
    stream = text_of()
    log.debug("looked")
    assert stream.getvalue() == ""
    stream = text_of(lowest=Level.DEBUG)
    log.debug("looked")
    assert "debug looked" in stream.getvalue()


@pytest.mark.parametrize("as_json", [False, True])
def test_registered_secrets_never_appear(as_json: bool) -> None:
    log.redact('hf_"quoted"/secret')
    stream = text_of(as_json=as_json)
    log.info("started", token='hf_"quoted"/secret', url="https://x/?q=hf_%22quoted%22%2Fsecret")
    assert "quoted" not in stream.getvalue()
    assert "***" in stream.getvalue()


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    log.redact("abcd1234")
    log.redact("abcd1234-and-more")
    assert log.redacted("key abcd1234-and-more") == "key ***"


def test_passwords_and_signatures_in_urls_are_hidden() -> None:
    hidden = log.redacted("s3://me:hunter2@host/b?X-Amz-Signature=deadbeef&part=1 https://a.blob/x?sv=1&sig=Zm9v%3D")
    assert hidden == "s3://***@host/b?X-Amz-Signature=***&part=1 https://a.blob/x?sv=1&sig=***"


def test_a_closed_stream_stops_nothing() -> None:
    stream = text_of()
    stream.close()
    log.info("went_on")
