"""Real servers, each started when a test first asks for it and ended by its process id; a prefix of its own for every test.

`remote` is a store on such a server, `faulty` one behind a fault proxy; both put into the environment what a client needs. Logs
are kept below `.servers/logs/` where a test failed.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from launcher.adapters.store.providers.azure import Azure
from launcher.adapters.store.providers.base import Provider
from launcher.adapters.store.providers.gcs import Gcs
from launcher.adapters.store.providers.s3 import S3
from tests.servers.kinds import INSTALLED, Kind
from tests.servers.proxy import FaultProxy
from tests.servers.running import Servers

STORES = ("s3", "moto", "gs", "az")
PROVIDERS: dict[str, Callable[[], Provider]] = {"s3": S3, "gs": Gcs, "az": Azure}
Note = Callable[[str, str, str], None]  # a fault, a store and what came of it, for the table at the end
NOTE = "fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    kind: Kind
    url: str

    @property
    def name(self) -> str:
        return self.kind.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty:
    kind: Kind
    url: str
    proxy: FaultProxy

    @property
    def name(self) -> str:
        return self.kind.name


@pytest.fixture(autouse=True, scope="session")
def servers(request: pytest.FixtureRequest, _session_on_its_own: None) -> Iterator[Servers]:
    """Their environment is the session's: one that a test asked for first must outlive that test."""
    made = Servers(INSTALLED / "logs" / str(os.getpid()), os.environ)
    yield made
    made.stop(keep_logs=request.session.testsfailed > 0)


@pytest.fixture(params=STORES)
def remote(request: pytest.FixtureRequest, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Remote:
    server = servers.get(request.param)
    reach(server.kind, server.port, monkeypatch)
    return Remote(kind=server.kind, url=server.kind.url(uuid.uuid4().hex))


@pytest.fixture(params=STORES)
def faulty(request: pytest.FixtureRequest, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    server = servers.get(request.param)
    with FaultProxy(server.port) as proxy:
        reach(server.kind, proxy.port, monkeypatch)
        yield Faulty(kind=server.kind, url=server.kind.url(uuid.uuid4().hex), proxy=proxy)


def reach(kind: Kind, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in kind.environment(port).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def table(record_property: Callable[[str, object], None]) -> Note:
    return lambda fault, store, outcome: record_property(NOTE, (fault, store, outcome))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The fault table, of all outcomes that tests noted; one that failed noted none."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    notes = [value for report in reports if report.when == "call" for name, value in report.user_properties if name == NOTE]
    outcomes = {(fault, store): outcome for fault, store, outcome in notes}
    faults = list(dict.fromkeys(fault for fault, _ in outcomes))
    if not faults:
        return
    terminalreporter.section("what became of each fault")
    for fault in sorted(faults):
        terminalreporter.write_line(fault)
        for store in (*STORES, "file"):
            if (outcome := outcomes.get((fault, store), "–")) != "–":
                terminalreporter.write_line(f"    {store:5} {outcome}")
