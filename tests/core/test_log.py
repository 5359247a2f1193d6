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


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (
            "Authorization: AWS4-HMAC-SHA256 Credential=AKIA1/20261128/r/s3/aws4_request, Signature=hunter2\nHost: h",
            "Authorization: ***\nHost: h",
        ),
        (
            "<CIMultiDictProxy('Authorization': 'Bearer hunter2.hunter2', 'Host': 'h')>",
            "<CIMultiDictProxy('Authorization': '***', 'Host': 'h')>",
        ),
        ("asked as Bearer hunter2.hunter2 of h", "asked as Bearer *** of h"),
        ("x-ms-version:2021 SharedKey acct:hunter2== done", "x-ms-version:2021 SharedKey *** done"),
        ("x-amz-security-token:hunter2//x== host:h", "x-amz-security-token:*** host:h"),
        ("AccountName=acct;AccountKey=hunter2==;EndpointSuffix=e", "AccountName=acct;AccountKey=***;EndpointSuffix=e"),
        ("SharedAccessSignature=sv=2024&se=1&sig=hunter2%3D;X=1", "SharedAccessSignature=***&se=1&sig=***;X=1"),
        (
            "/b?X-Amz-Credential=hunter2&X-Amz-Security-Token=hunter2&part=1",
            "/b?X-Amz-Credential=***&X-Amz-Security-Token=***&part=1",
        ),
        ("next=%3Fsv%3D1%26sig%3Dhunter2", "next=%3Fsv%3D1%26sig%3D***"),
        (
            '{"access_token": "hunter2", "refresh_token": "hunter2", "expires_in": 3}',
            '{"access_token": "***", "refresh_token": "***", "expires_in": 3}',
        ),
        ("aws_secret_access_key = hunter2", "aws_secret_access_key = ***"),
        ("'SecretAccessKey': 'hunter2', 'SessionToken': 'hunter2'", "'SecretAccessKey': '***', 'SessionToken': '***'"),
        ("a token of Google's, ya29.hunter2-hunter2, and no more", "a token of Google's, ***, and no more"),
        ("eyJhbGciOiJIUzI1NiJ9.hunter2.hunter2 is a JSON web token", "*** is a JSON web token"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY----- too", "*** too"),
    ],
    ids=lambda text: text[:20],
)
def test_what_looks_like_a_secret_is_hidden_whoever_says_it(text: str, hidden: str) -> None:
    assert log.redacted(text) == hidden


@pytest.mark.parametrize(
    "text",
    [
        "object_unreadable key=journal/0001.json error=short",
        "train.py got signal=9 after tokens=12; the signature: f(x: int)",
        "no answer for abfs://container@account/runs/x",
        "the bearer of this design=3",
    ],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert log.redacted(text) == text


def test_a_closed_stream_stops_nothing() -> None:
    stream = text_of()
    stream.close()
    log.info("went_on")
