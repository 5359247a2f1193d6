"""Real servers, each started when a test first asks for it and ended by its process id; a prefix of its own for every test.

`remote` is a store on such a server, `faulty` one behind a fault proxy; both put into the environment what a client needs. Logs
are kept below `.servers/logs/` where a test failed.
"""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.servers.kinds import INSTALLED, Kind
from tests.servers.proxy import FaultProxy
from tests.servers.running import Servers

STORES = ("s3", "moto", "gs", "az")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    kind: Kind
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty:
    kind: Kind
    url: str
    proxy: FaultProxy


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
