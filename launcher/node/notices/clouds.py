"""Which cloud's word is listened to on a machine of which cloud."""

from collections.abc import Callable

from launcher.core.market.offer import Placement
from launcher.node.notices import aws, gcp
from launcher.node.notices.azure import ScheduledEvents
from launcher.node.notices.metadata import MetadataServer
from launcher.node.notices.watch import Watch
from launcher.units import Seconds, Utc

HINT_PAUSE_S: Seconds = 5.0  # as often as AWS recommends (EC2 User Guide, "EC2 instance rebalance recommendations")


def cloud_watches(placement: Placement, server: MetadataServer, utc: Callable[[], Utc]) -> tuple[Watch, ...]:
    """Not started. None elsewhere: Kubernetes, Slurm and all others say it by a signal, if at all."""
    match placement.cloud:
        case "aws":
            return Watch(aws.InstanceAction(server, utc), utc), Watch(aws.Rebalance(server), utc, pause_s=HINT_PAUSE_S)
        case "gcp":
            maintenance = gcp.maintenance(server, utc, has_gpu=placement.accelerators > 0)
            return Watch(gcp.preempted(server, utc), utc), Watch(maintenance, utc)
        case "azure":
            return (Watch(ScheduledEvents(server, utc), utc),)
        case _:
            return ()
