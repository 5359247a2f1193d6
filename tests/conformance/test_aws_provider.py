"""What AWS's own word is where there is none; what it says is tried with servers, in tests/e2e."""

from typing import Any

import pytest

from launcher.adapters import ec2
from launcher.adapters.cloud.skypilot.aws import AwsProvider
from launcher.errors import CloudUnreachable

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
