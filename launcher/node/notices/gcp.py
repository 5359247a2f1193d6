"""What Compute Engine says of a machine's end, by its metadata server.

    GET /computeMetadata/v1/instance/preempted           FALSE, or TRUE once the machine is being taken away
    GET /computeMetadata/v1/instance/maintenance-event   NONE, MIGRATE_ON_HOST_MAINTENANCE or TERMINATE_ON_HOST_MAINTENANCE

Both with `wait_for_change`: the answer is held until the value is another one than that of `last_etag`, or `timeout_sec` is over.
Neither says when, so the lead is the cloud's rule. A question needs the header `Metadata-Flavor: Google`; an answer without it is
somebody else's. While the server itself is maintained it says 503. A machine that was asked for with `preemptionNoticeDuration`
(beta) has two minutes more than the rule; they are not counted on.

Compute Engine: "View and query VM metadata", "Create and use Spot VMs", "Query metadata server for maintenance event notices",
"Handle GPU host maintenance events" (GPU VMs: one hour, others 60 s); read November 2026.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from launcher.core.market.offer import NOTICE_LEAD
from launcher.node.notices.base import Hint, Warned
from launcher.node.notices.metadata import MetadataServer, Unanswered
from launcher.node.notices.watch import Oracle
from launcher.units import HOUR, Seconds, Utc

HELD_S = 5  # whole seconds; a server that died while it held an answer is asked again within so long and ANSWERS_S
FLAVOR = {"Metadata-Flavor": "Google"}
UNSEEN = "0"  # an etag that no value has: the first answer comes at once


@dataclass(slots=True, kw_only=True)
class Value(Oracle):
    """One value of the machine's metadata, and which of its states mean an end `lead` later."""

    server: MetadataServer
    utc: Callable[[], Utc]
    key: str
    ends: str
    goes_on: frozenset[str]
    lead: Seconds
    _etag: str = field(default=UNSEEN, init=False)

    def told(self, before: Warned | Hint | None) -> Warned | None:
        query = f"wait_for_change=true&timeout_sec={HELD_S}&last_etag={self._etag}"
        answer = self.server.ask(f"/computeMetadata/v1/instance/{self.key}?{query}", FLAVOR, held_s=HELD_S)
        if answer.status != 200 or answer.headers.get("metadata-flavor") != "Google":
            raise Unanswered(f"{self.key}: status {answer.status}")
        value = answer.body.decode("ascii").strip()
        if value != self.ends and value not in self.goes_on:
            raise Unanswered(f"{self.key}: {value[:40]!r}")
        self._etag = answer.headers.get("etag", UNSEEN)
        if value in self.goes_on:
            return None
        return before if isinstance(before, Warned) else Warned(ends_at=self.utc() + self.lead, source=f"gcp, {self.key}")


def preempted(server: MetadataServer, utc: Callable[[], Utc]) -> Value:
    return Value(server=server, utc=utc, key="preempted", ends="TRUE", goes_on=frozenset({"FALSE"}), lead=NOTICE_LEAD["gcp"])


def maintenance(server: MetadataServer, utc: Callable[[], Utc], *, has_gpu: bool) -> Value:
    """A migration leaves the program running: it is no end."""
    return Value(
        server=server,
        utc=utc,
        key="maintenance-event",
        ends="TERMINATE_ON_HOST_MAINTENANCE",
        goes_on=frozenset({"NONE", "MIGRATE_ON_HOST_MAINTENANCE"}),
        lead=HOUR if has_gpu else 60.0,
    )
