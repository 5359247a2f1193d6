"""What EC2 says of a spot instance's end, by instance metadata, version 2.

    PUT /latest/api/token                                    a token for GETs; 401 says that it is none any more
    GET /latest/meta-data/spot/instance-action               404 until announced; {"action": "terminate", "time": "…Z"}
    GET /latest/meta-data/events/recommendations/rebalance   404, or {"noticeTime": "…Z"}: a raised risk, no end

EC2 User Guide: "Use IMDSv2", "Spot Instance interruption notices", "EC2 instance rebalance recommendations"; read November 2026.
`stop` and `hibernate` end the program as `terminate` does, `hibernate` without the two minutes.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime

from launcher.node.notices.base import Hint, Warned
from launcher.node.notices.metadata import Answer, MetadataServer, Unanswered
from launcher.node.notices.watch import Oracle
from launcher.units import Utc

TOKEN_S = 21600  # six hours, the longest there is
_TOKEN = re.compile(r"[\x21-\x7e]+")  # what may stand in a header


class Metadata:
    """GETs with a token, which is asked for at first and where it expired."""

    def __init__(self, server: MetadataServer) -> None:
        self._server = server
        self._token: str | None = None

    def get(self, key: str) -> Answer | None:
        """None where there is no such key. Raises Unanswered."""
        answer = self._get(key)
        if answer.status == 401:
            self._token = None
            answer = self._get(key)
        if answer.status not in (200, 404):
            raise Unanswered(f"{key}: status {answer.status}")
        return answer if answer.status == 200 else None

    def _get(self, key: str) -> Answer:
        self._token = self._token or self._new_token()
        return self._server.ask(f"/latest/meta-data/{key}", {"X-aws-ec2-metadata-token": self._token})

    def _new_token(self) -> str:
        asked = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
        answer = self._server.ask("/latest/api/token", asked, method="PUT")
        token = answer.body.decode("ascii", "replace")
        if answer.status != 200 or not _TOKEN.fullmatch(token):
            raise Unanswered(f"no token: status {answer.status}")
        return token


class InstanceAction(Oracle):
    def __init__(self, server: MetadataServer, utc: Callable[[], Utc]) -> None:
        self._metadata = Metadata(server)
        self._utc = utc

    def told(self, before: Warned | Hint | None) -> Warned | None:
        answer = self._metadata.get("spot/instance-action")
        if answer is None:
            return None
        raw = json.loads(answer.body)
        return Warned(ends_at=answer.ours(_instant(raw["time"]), self._utc()), source=f"aws, {raw['action']}")


class Rebalance(Oracle):
    def __init__(self, server: MetadataServer) -> None:
        self._metadata = Metadata(server)

    def told(self, before: Warned | Hint | None) -> Hint | None:
        answer = self._metadata.get("events/recommendations/rebalance")
        if answer is None:
            return None
        at = datetime.fromtimestamp(_instant(json.loads(answer.body)["noticeTime"]), UTC)
        return Hint(text=f"AWS sees a raised risk that this machine is interrupted (rebalance recommendation, {at:%H:%M:%S} UTC)")


def _instant(text: str) -> Utc:
    """Of "2017-09-18T08:22:00Z"."""
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
