"""SkyPilot itself: the only importer of `sky`.

Importing it takes seconds and starting its server many more, so both wait for the first call, which is never the loop's own. What
it would print is kept off the screen. Its exceptions become ours: what may pass is CloudUnreachable, what will not is Refused.
"""

import contextlib
import functools
import io
import logging
import re
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from launcher import log
from launcher.adapters.cloud.skypilot.base import (
    Cluster,
    ClusterName,
    ClusterState,
    JobState,
    Launch,
    LaunchState,
    Refused,
    RequestId,
    TaskConfig,
)
from launcher.adapters.cloud.skypilot.failures import failure_of, plain
from launcher.adapters.cloud.skypilot.zones import zone_name
from launcher.core.market.offer import Placement
from launcher.errors import CloudUnreachable

TESTED = ("0.14.1",)  # against a stand-in cloud: tests/e2e/sky
LAUNCH = "sky.launch"  # as the server calls such a request
REQUESTS_ASKED_MOST = 50  # of one cluster's, newest first; beside the launch there are its downs
# SkyPilot would copy the client's credential files of all clouds onto every machine. On these the machine's own role serves
# instead, and of the others nothing is copied elsewhere. SkyPilot docs, "Advanced configuration", remote_identity.
BY_ROLE = ("aws", "gcp")
KEPT_BACK = (
    "aws",
    "gcp",
    "azure",
    "kubernetes",
    "ssh",
    "nebius",
    "oci",
    "slurm",
    "vast",
)  # all that its schema lets one say it of
_STATES = {"UP": ClusterState.UP, "STOPPED": ClusterState.STOPPED}  # all others are INIT: SkyPilot cannot tell
# Why it calls a cluster INIT, where the cloud's list says so; a probe that found no answer proves nothing
# (sky/backends/backend_utils.py, _update_cluster_status).
_BROKEN = re.compile(r"nodes? terminated|not all nodes are stopped|node\(s\) in unexpected state")
_LAUNCH_STATES = {
    "PENDING": LaunchState.OPEN,
    "WAITING": LaunchState.OPEN,
    "RUNNING": LaunchState.OPEN,
    "SUCCEEDED": LaunchState.SENT,
}  # all others have failed, or were cancelled
_JOB_STATES = {
    "INIT": JobState.OPEN,
    "PENDING": JobState.OPEN,
    "SETTING_UP": JobState.OPEN,
    "RUNNING": JobState.RUNNING,
    "SUCCEEDED": JobState.ENDED,
    # Its driver is gone, which need not be the end of what it drives: SkyPilot itself may take this back (sky/skylet/job_lib.py,
    # update_job_status). An agent that is gone with it is silent.
    "FAILED_DRIVER": JobState.OPEN,
}  # all others have failed, or were cancelled
_BEST_FIRST = (JobState.RUNNING, JobState.OPEN, JobState.ENDED, JobState.FAILED)
LINES_ASKED_MOST = 20  # of a task's log
WORDS_CHARS_MAX = 300  # they go into the journal
_TASK_LINE = re.compile(r"\([^()]*pid=\d+[^()]*\) ?(.*)")  # by the process that printed it
_ERROR = re.compile(r"\w*error\b", re.IGNORECASE)
_MISSING = ("ClusterDoesNotExist", "ClusterNotUpError")
# What says nothing of the launch: the way to the server, or the server itself. Names, since one class is made anew on the way.
_PASSING = frozenset(
    """ApiServerConnectionError RequestInterruptedError ServerTemporarilyUnavailableError ClientError ConnectionError ReadTimeout
    ConnectTimeout ChunkedEncodingError RuntimeError ClusterStatusFetchingError NetworkError SkyletUnavailableError
    ExecutionRetryableError TimeoutError""".split()
)
# What the machine itself could not do, under a name that says as little (sky/provision/instance_setup.py, provisioner.py): the
# request has failed for good, and whoever waits for it is told the same for ever.
_SET_UP = re.compile(r"Failed to (run setup commands|start (ray|skylet)|SSH to|setup logging|retrieve docker)")

_LOADING = threading.Lock()


class SkyClient:
    """Implements Sky. Safe to call from several threads."""

    def zone_name(self, placement: Placement) -> str | None:
        return zone_name(placement)

    def newest_launch(self, name: ClusterName) -> Launch | None:
        with _reaching():
            found = _sky().api_status(all_status=True, cluster_name=name, limit=REQUESTS_ASKED_MOST)
        launches = [request for request in found if request.name == LAUNCH and request.cluster_name == name]
        if not launches:
            return None
        newest = max(launches, key=lambda request: request.created_at)
        state = _LAUNCH_STATES.get(newest.status, LaunchState.FAILED)
        return Launch(request=newest.request_id, state=state, asked_at=newest.created_at)

    def launch(self, name: ClusterName, task: TaskConfig) -> RequestId:
        sky = _sky()
        resources = task["resources"]
        assert isinstance(resources, dict), "a task names its place"
        with _refusing(io.StringIO()), _keeping_back(str(resources["infra"]).partition("/")[0]):
            return str(sky.launch(sky.Task.from_yaml_config(task), cluster_name=name))

    def wait_launched(self, request: RequestId) -> None:
        told = io.StringIO()
        with _refusing(told):
            _sky().stream_and_get(request, output_stream=told)

    def cancel(self, request: RequestId) -> None:
        with _reaching():
            _sky().get(_sky().api_cancel([request], silent=True))

    def knows(self, name: ClusterName) -> bool:
        sky = _sky()
        with _reaching():
            return bool(sky.get(sky.status([name])))

    def clusters(self, prefix: str) -> list[Cluster]:
        sky = _sky()
        with _reaching():
            names = [found["name"] for found in sky.get(sky.status()) if found["name"].startswith(prefix)]
            if not names:
                return []
            seen = sky.get(sky.status(names, refresh=sky.StatusRefreshMode.FORCE))
        return [
            Cluster(
                name=found["name"],
                state=cluster_state(found["status"].value, found["last_event"]),
                launched_at=float(found["launched_at"]),
            )
            for found in seen
        ]

    def job(self, name: ClusterName) -> JobState | None:
        sky = _sky()
        with _reaching():
            try:
                found = {_JOB_STATES.get(job.status.value, JobState.FAILED) for job in sky.get(sky.queue(name))}
            except Exception as error:
                if type(error).__name__ in _MISSING:
                    return None
                raise
        return next((state for state in _BEST_FIRST if state in found), None)

    def last_words(self, name: ClusterName) -> str:
        sky = _sky()
        told = io.StringIO()
        with _reaching():
            sky.tail_logs(name, None, follow=False, tail=LINES_ASKED_MOST, output_stream=told)
        return last_words(told.getvalue())

    def down(self, name: ClusterName) -> bool:
        sky = _sky()
        with _reaching():
            try:
                sky.get(sky.down(name))
            except Exception as error:
                if type(error).__name__ in _MISSING:
                    return False
                raise
        return True


def _sky() -> Any:
    """The library, quiet, with its server started once; one that dies later is started by the calls that look at clusters.

    Raises CloudUnreachable where it is not installed or does not start.
    """
    with _LOADING:
        return _loaded()


@functools.cache
def _loaded() -> Any:
    try:
        import sky
        from sky.client import sdk
    except ImportError as error:
        raise CloudUnreachable(f"SkyPilot is not installed ({error}); pip install 'spot-launch[sky]'") from error
    logging.getLogger("sky").setLevel(logging.ERROR)
    sdk.click = SimpleNamespace(secho=lambda *args, **kwargs: None)  # it writes the cluster's name to the screen
    if sky.__version__ not in TESTED:
        log.warning("skypilot_untested", version=sky.__version__, tested=", ".join(TESTED))
    with _reaching():
        sky.api_start()
    return sky


@contextlib.contextmanager
def _keeping_back(cloud: str) -> Iterator[None]:
    """A launch on `cloud` within this context leaves credential files here; what the user says of that cloud holds."""
    from sky import skypilot_config

    with _LOADING:
        config = skypilot_config.to_dict()
        for other in KEPT_BACK:
            keys = (other, "remote_identity")
            if other != cloud:
                config.set_nested(keys, "NO_UPLOAD")
            elif other in BY_ROLE and config.get_nested(keys, None) is None:
                config.set_nested(keys, "SERVICE_ACCOUNT")
        with skypilot_config.replace_skypilot_config_in_process(config):
            yield


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    """What cannot be asked is unreachable, whatever the reason: the loop asks again."""
    try:
        yield
    except Exception as error:
        raise CloudUnreachable(f"SkyPilot: {type(error).__name__}: {_line(error)}") from error


@contextlib.contextmanager
def _refusing(told: io.StringIO) -> Iterator[None]:
    """The same, for a launch: what is not on the way is final. `told` is the request's log so far."""
    try:
        yield
    except Exception as error:
        name = type(error).__name__
        if name in _PASSING and not _SET_UP.match(plain(str(error))):
            raise CloudUnreachable(f"SkyPilot: {name}: {_line(error)}") from error
        was_tried = bool(getattr(error, "failover_history", ()))
        raise Refused(failure_of(name, str(error), told.getvalue(), was_tried=was_tried)) from error


def cluster_state(status: str, last_event: str | None) -> ClusterState:
    if status == "INIT" and _BROKEN.search(last_event or ""):
        return ClusterState.BROKEN
    return _STATES.get(status, ClusterState.INIT)


def last_words(text: str) -> str:
    """Of a task's log as SkyPilot shows it, whose own words are among the task's."""
    said = [found[1].strip() for found in map(_TASK_LINE.match, plain(text).splitlines()) if found]
    lines = [line for line in said if line]
    begin = max((i for i, line in enumerate(lines) if _ERROR.match(line)), default=len(lines) - 1)
    return log.redacted(" ".join(lines[max(begin, 0) :]))[:WORDS_CHARS_MAX]  # cut last: of half a secret nothing is known


def _line(error: Exception) -> str:
    return " ".join(plain(str(error)).split())[:200]
