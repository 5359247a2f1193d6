"""What Azure says of a machine's end, by its Scheduled Events.

    GET  /metadata/instance/compute/name    this machine's name, since the events of a whole set of machines come to each of them
    GET  /metadata/scheduledevents          {"Events": [{"EventId", "EventType", "Resources", "NotBefore", …}], …}
    POST /metadata/scheduledevents          {"StartRequests": [{"EventId"}]}: the event need not wait any longer

All with the header `Metadata: true` and an api-version. Events are switched on by the first question, whose answer may take two
minutes. One that is off the list is over, or was called off; NotBefore is empty once it has started.

"Scheduled Events for Linux VMs", "Azure Instance Metadata Service"; read November 2026.
"""

import json
from collections.abc import Callable
from typing import Any

from launcher.node.notices.base import Hint, Warned, standing
from launcher.node.notices.metadata import Answer, MetadataServer, Unanswered, instant
from launcher.node.notices.watch import Oracle
from launcher.units import Utc

HEADERS = {"Metadata": "true"}
NAME = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"
ENDS = ("Preempt", "Terminate", "Reboot", "Redeploy")  # of the program; Freeze pauses it for seconds


class ScheduledEvents(Oracle):
    def __init__(self, server: MetadataServer, utc: Callable[[], Utc]) -> None:
        self._server = server
        self._utc = utc
        self._name: str | None = None
        self._standing: tuple[str, ...] = ()  # ids of the events that end this machine

    def told(self, before: Warned | Hint | None) -> Warned | None:
        self._name = self._name or self._answer(NAME).body.decode().strip().casefold()
        answer = self._answer(EVENTS)
        ends = [event for event in json.loads(answer.body)["Events"] if self._is_our_end(event)]
        warned = standing([self._warned(event, answer, before) for event in ends])
        self._standing = tuple(str(event["EventId"]) for event in ends)
        return warned

    def let_go(self) -> None:
        if self._standing:
            asked = {"StartRequests": [{"EventId": event} for event in self._standing]}
            self._answer(EVENTS, method="POST", body=json.dumps(asked))

    def _answer(self, path: str, *, method: str = "GET", body: str | None = None) -> Answer:
        answer = self._server.ask(path, HEADERS, method=method, body=body)
        if answer.status != 200:
            raise Unanswered(f"{path}: status {answer.status}")
        return answer

    def _is_our_end(self, event: dict[str, Any]) -> bool:
        return event["EventType"] in ENDS and self._name in [name.casefold() for name in event["Resources"]]

    def _warned(self, event: dict[str, Any], answer: Answer, before: Warned | Hint | None) -> Warned:
        source = f"azure, {event['EventType']}"
        if event["NotBefore"]:
            return Warned(ends_at=answer.ours(instant(event["NotBefore"]), self._utc()), source=source)
        return before if isinstance(before, Warned) else Warned(ends_at=self._utc(), source=source)
