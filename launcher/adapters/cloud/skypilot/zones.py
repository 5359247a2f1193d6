"""What an account calls a zone.

Price lists name AWS's zones by ids, such as use1-az6, since a name such as us-east-1a means another one in each account; SkyPilot
takes names. (Amazon EC2 User Guide, "Availability Zone IDs".)
"""

import functools
import re

from launcher.adapters import ec2
from launcher.adapters.cloud.skypilot.aws import ANY_REGION
from launcher.adapters.cloud.skypilot.base import Refused
from launcher.adapters.cloud.skypilot.failures import EC2_CODES
from launcher.core.instance import FailureKind, StartFailure
from launcher.core.market.offer import Placement
from launcher.errors import CloudUnreachable

# What EC2 answers to wrong credentials, and also in a region that the account has not enabled.
_NOT_LET_IN = ("AuthFailure", "OptInRequired")
_ZONE_ID = re.compile(r"[a-z]+\d-.*az\d+")  # use1-az6, use1-atl2-az1


def zone_name(placement: Placement) -> str | None:
    """Raises CloudUnreachable, and Refused where the account is not let in or has no such zone."""
    zone = placement.zone
    if placement.cloud != "aws" or zone is None or not _ZONE_ID.fullmatch(zone):
        return zone
    name = _names(placement.region).get(zone)
    if name is None:
        raise _refused(FailureKind.CAPACITY, f"this account has no zone {zone} in {placement.region}")
    return name


@functools.cache
def _names(region: str) -> dict[str, str]:
    """By id. They never change in an account."""
    try:
        return {zone: name for name, zone in ec2.Region(ec2.session(), region).zone_ids().items()}
    except ec2.NobodyAsks as error:
        raise _refused(FailureKind.CREDENTIALS, str(error)) from error
    except ec2.Unanswered as error:
        if error.code in _NOT_LET_IN and region != ANY_REGION and _is_known(ANY_REGION):
            raise _refused(FailureKind.CAPACITY, f"this account has not enabled {region}") from error
        if error.code in EC2_CODES:
            raise _refused(EC2_CODES[error.code], f"EC2 in {region} {error}") from error
        raise CloudUnreachable(f"EC2 in {region}: {error}") from error


def _is_known(region: str) -> bool:
    """Whether the account is, there; it may be known and kept out. Raises CloudUnreachable."""
    try:
        _names(region)
    except Refused as refused:
        return refused.failure.failure is not FailureKind.CREDENTIALS
    return True


def _refused(kind: FailureKind, message: str) -> Refused:
    return Refused(StartFailure(failure=kind, message=message))
