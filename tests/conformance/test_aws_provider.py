"""What AWS's own word is where there is none; what it says is tried with servers, in tests/e2e."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from launcher.adapters import ec2
from launcher.adapters.cloud.skypilot import zones
from launcher.adapters.cloud.skypilot.aws import AwsProvider
from launcher.adapters.cloud.skypilot.base import Refused
from launcher.core.instance import FailureKind
from launcher.errors import CloudUnreachable
from tests.conformance.clouds import PLACE

pytest.importorskip("botocore", reason="botocore is not installed; the extra s3 brings it")
from botocore.parsers import ResponseParserError


@pytest.mark.parametrize(
    "error",
    [
        ResponseParserError("Unable to parse response, invalid XML received:\nb'<html>Sign in to the hotel</html>'"),
        RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."),
    ],
)
def test_what_botocore_calls_no_error_of_its_own_is_no_answer_and_ends_no_supervisor(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Broken:
        def create_client(self, *args: Any, **kwargs: Any) -> Any:
            raise error

    monkeypatch.setattr(ec2, "session", Broken)
    with pytest.raises(CloudUnreachable, match=r"^EC2 in us-east-1: [^<]*$"):
        AwsProvider().machines("quiet-otter", "c0ffee", ["us-east-1"])


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The code that EC2 answers in us-east-1, "" for no answer, while ap-east-1 answers AuthFailure; none: its zones."""
    answers: list[str] = []

    class Asked:
        def __init__(self, session: object, name: str) -> None:
            self._name = name

        def zone_ids(self) -> dict[str, str]:
            codes = ["AuthFailure"] if self._name == "ap-east-1" else answers
            for code in codes:
                raise ec2.Unanswered(f"answers {code}", code)
            return {f"{self._name}a": "use1-az1"}

    monkeypatch.setattr(ec2, "session", object)
    monkeypatch.setattr(ec2, "Region", Asked)
    zones._names.cache_clear()
    yield answers
    zones._names.cache_clear()


CLOSED = replace(PLACE, region="ap-east-1", zone="ape1-az1")


@pytest.mark.parametrize(
    ("codes", "kind", "told"),
    [
        ([], FailureKind.CAPACITY, "has not enabled ap-east-1"),
        (["UnauthorizedOperation"], FailureKind.CAPACITY, "has not enabled ap-east-1"),  # an organization that keeps to Europe
        (["AuthFailure"], FailureKind.CREDENTIALS, "AuthFailure"),
    ],
)
def test_a_region_that_the_account_has_not_enabled_is_no_place_and_credentials_that_are_wrong_are_wrong_everywhere(
    at_home: list[str], codes: list[str], kind: FailureKind, told: str
) -> None:
    """EC2 answers the same to both, and a run with other places was paused to have its credentials renewed."""
    at_home += codes
    with pytest.raises(Refused, match=told) as refused:
        zones.zone_name(CLOSED)
    assert refused.value.failure.failure is kind


def test_where_nobody_says_whether_a_region_is_closed_or_the_credentials_are_wrong_it_is_asked_again(at_home: list[str]) -> None:
    """A blip of us-east-1 paused the run."""
    at_home.append("")
    with pytest.raises(CloudUnreachable, match="us-east-1"):
        zones.zone_name(CLOSED)
