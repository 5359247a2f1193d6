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


LOG = """\
Job ID not provided. Streaming the logs of the latest job.
\x1b[2m├── \x1b[0m\x1b[2mWaiting for task resources on 1 node.\x1b[0m
ERROR: \x1b[31mJob 1's setup failed. Failed workers: (pid=516, returncode=1). See error logs above for more details.\x1b[0m
\x1b[36m(setup pid=516)\x1b[0m error: No solution found when resolving dependencies
\x1b[36m(setup pid=516)\x1b[0m   cause: Because safetensors was not found in the cache
\x1b[36m(setup pid=516)\x1b[0m
\x1b[36m(setup pid=516)\x1b[0m hint: Packages were unavailable because the network was disabled.
\x1b[0m\x1b[32m✓ Job finished (status: FAILED_SETUP).\x1b[0m\x1b[0m
"""  # of SkyPilot 0.14.1
SAID = (
    "error: No solution found when resolving dependencies cause: Because safetensors was not found in the cache "
    "hint: Packages were unavailable because the network was disabled."
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LOG, SAID),
        ("(launch, pid=7) Traceback:\n(launch, pid=7) ImportError: no botocore\n", "ImportError: no botocore"),
        ("(launch, rank=0, node=n1, pid=7, ip=10.0.0.1) Killed\n✓ Job finished", "Killed"),
        ("✓ Job finished (status: FAILED_SETUP).", ""),
    ],
)
def test_of_a_tasks_log_its_last_error_is_told_and_not_what_skypilot_says_around_it(text: str, said: str) -> None:
    assert client.last_words(text) == said


def test_half_of_a_secret_is_not_told_either() -> None:
    """The end of what is told lay within the password of an index."""
    line = "error: ".ljust(client.WORDS_CHARS_MAX - len("https://me:hunt"), ".") + "https://me:hunter2@index.example/simple"
    assert "hunt" not in client.last_words(f"(setup pid=516) {line}")
