"""The guard of every test sees a process that outlives it, whatever that process did to hide, and ends it."""

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from launcher.processes import marked
from tests.conftest import MARK, end_strays, servers_left
from tests.market.hosting import answering

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

LINGER = "import sys, time; print('up', flush=True); time.sleep(600)"


@pytest.mark.parametrize("own_session", [False, True])
def test_a_process_left_behind_is_named_and_killed(own_session: bool):
    mark = f"probe-{os.getpid()}-{own_session}"
    with subprocess.Popen(
        [sys.executable, "-c", LINGER],
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
        start_new_session=own_session,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (named,) = end_strays(mark, grace_s=0.0)
        assert process.wait() == -9
    assert named.startswith(f"{process.pid} ")
    assert marked(MARK, mark) == ()


def test_a_process_that_has_ended_is_no_stray():
    mark = f"ended-{os.getpid()}"
    subprocess.run([sys.executable, "-c", ""], env={**os.environ, MARK: mark}, check=True)
    assert end_strays(mark, grace_s=0.0) == []


def test_a_server_that_nobody_shut_down_is_named():
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)):
        assert len(servers_left([], grace_s=0.0)) == 1
    assert servers_left([], grace_s=20.0) == []


def test_no_test_sees_the_persons_own_runs_or_credentials():
    assert os.environ["LAUNCH_HOME"].startswith(os.environ["HOME"])
    assert os.environ["XDG_STATE_HOME"].startswith(os.environ["HOME"])
    assert not [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]
