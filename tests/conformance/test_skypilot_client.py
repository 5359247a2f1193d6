"""What of SkyPilot's exceptions passes, and what has failed for good: it raises one and the same for both."""

import io

import pytest

from launcher.adapters.cloud.skypilot import client
from launcher.adapters.cloud.skypilot.base import Refused
from launcher.core.instance import FailureKind
from launcher.errors import CloudUnreachable


@pytest.mark.parametrize(
    "text",
    [
        "Failed to run setup commands on an instance. (exit code 22). Error: ===== stdout ===== \n\n===== stderr =====curl: (22)",
        "\x1b[31mFailed to start ray on the head node (exit code 1). Error: \n===== stdout =====",
        "Failed to SSH to 10.0.0.1 after timeout 600s, with Connection refused",
    ],
)
def test_a_machine_that_could_not_be_set_up_has_failed_for_good(text: str) -> None:
    """It was asked of the failed request again and again, for a quarter of an hour, and nobody was told."""
    with pytest.raises(Refused, match="Failed to") as refused, client._refusing(io.StringIO()):
        raise RuntimeError(text)
    assert refused.value.failure.failure is FailureKind.UNREACHABLE
    assert "\x1b" not in refused.value.failure.message


def test_a_server_that_does_not_answer_has_refused_nothing() -> None:
    with pytest.raises(CloudUnreachable, match="Failed to get request"), client._refusing(io.StringIO()):
        raise RuntimeError("Failed to get request 1f2e: 502 Bad Gateway")
