"""What AWS's own word is where there is none; what it says is tried with servers, in tests/e2e."""

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


@pytest.mark.parametrize(
    ("closed", "kind", "told"),
    [
        ({"ap-east-1"}, FailureKind.CAPACITY, "has not enabled ap-east-1"),
        ({"ap-east-1", "us-east-1"}, FailureKind.CREDENTIALS, "AuthFailure"),
    ],
)
def test_a_region_that_the_account_has_not_enabled_is_no_place_and_credentials_that_are_wrong_are_wrong_everywhere(
    monkeypatch: pytest.MonkeyPatch, closed: set[str], kind: FailureKind, told: str
) -> None:
    """EC2 answers the same to both, and a run with other places was paused to have its credentials renewed."""

    class Asked:
        def __init__(self, session: object, name: str) -> None:
            self._name = name

        def zone_ids(self) -> dict[str, str]:
            if self._name in closed:
                raise ec2.Unanswered("answers AuthFailure", "AuthFailure")
            return {f"{self._name}a": "use1-az1"}

    monkeypatch.setattr(ec2, "session", object)
    monkeypatch.setattr(ec2, "Region", Asked)
    zones._names.cache_clear()
    there = replace(PLACE, region="ap-east-1", zone="ape1-az1")
    with pytest.raises(Refused, match=told) as refused:
        zones.zone_name(there)
    assert refused.value.failure.failure is kind
    zones._names.cache_clear()
