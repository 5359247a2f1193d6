"""Why a launch failed, from what SkyPilot leaves of it.

Its exceptions are the same for a full zone, a quota and a missing right. The cloud's own code stands only in the log of the
request, between colours and tables, so that is read first; the exception's type says what is left.
"""

import re

from launcher.core.instance import FailureKind, StartFailure
from launcher.log import redacted

MESSAGE_CHARS_MAX = 400  # of the error; it goes into the journal

# Amazon EC2 API Reference, "Error codes for the Amazon EC2 API".
EC2_CODES = {
    "InsufficientInstanceCapacity": FailureKind.CAPACITY,
    "InsufficientHostCapacity": FailureKind.CAPACITY,
    "InsufficientCapacityOnHost": FailureKind.CAPACITY,
    "SpotMaxPriceTooLow": FailureKind.CAPACITY,
    "Unsupported": FailureKind.CAPACITY,  # this type in this zone; another zone may have it
    "VcpuLimitExceeded": FailureKind.QUOTA,
    "MaxSpotInstanceCountExceeded": FailureKind.QUOTA,
    "InstanceLimitExceeded": FailureKind.QUOTA,
    "UnauthorizedOperation": FailureKind.PERMISSION,
    "AccessDenied": FailureKind.PERMISSION,
    "OptInRequired": FailureKind.PERMISSION,
    "AuthFailure": FailureKind.CREDENTIALS,
    "InvalidClientTokenId": FailureKind.CREDENTIALS,
    "SignatureDoesNotMatch": FailureKind.CREDENTIALS,
    "UnrecognizedClientException": FailureKind.CREDENTIALS,
    "ExpiredToken": FailureKind.CREDENTIALS,
    "RequestExpired": FailureKind.CREDENTIALS,
}  # and what begins with Invalid is the recipe's
# By the names of SkyPilot's exceptions: a name is compared, since the client hands on what its server wrote down.
ERRORS = {
    "ResourcesUnavailableError": FailureKind.CAPACITY,
    "NoCloudAccessError": FailureKind.CREDENTIALS,
    "CloudUserIdentityError": FailureKind.CREDENTIALS,
    "ResourcesMismatchError": FailureKind.RECIPE,
    "InvalidClusterNameError": FailureKind.RECIPE,
    "NotSupportedError": FailureKind.RECIPE,
    "InvalidTaskYAMLError": FailureKind.RECIPE,
    "UserRequestRejectedByPolicy": FailureKind.PERMISSION,
    "ValueError": FailureKind.RECIPE,
}
_NO_IMAGE = re.compile(r"No image found in catalog[^\n]*")  # SkyPilot then goes on as if the zone were full
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_EC2_ERROR = re.compile(r"An error occurred \(([\w.]+)\) when calling the \w+ operation(?: \([^)]*\))?: ([^\n]*)")


def failure_of(error: str, text: str, log: str, *, was_tried: bool) -> StartFailure:
    """From an exception's type and text and the request's log; `was_tried` unless no place could be found to ask in."""
    told = _EC2_ERROR.search(plain(log)) or _EC2_ERROR.search(plain(text))
    if told is not None:
        other = FailureKind.RECIPE if told[1].startswith("Invalid") else FailureKind.UNREACHABLE
        return _failure(EC2_CODES.get(told[1], other), f"{told[1]}: {told[2].strip()}")
    if no_image := _NO_IMAGE.search(plain(log)):
        return _failure(FailureKind.RECIPE, no_image[0].strip())
    kind = ERRORS.get(error, FailureKind.UNREACHABLE)
    if kind is FailureKind.CAPACITY and not was_tried:
        kind = FailureKind.RECIPE  # the catalog has no such machine there, and asking again changes nothing
    return _failure(kind, f"{error}: {' '.join(plain(text).split())}")


def _failure(kind: FailureKind, message: str) -> StartFailure:
    """It goes into the journal: secrets are hidden first, since what is cut off of one nobody knows any more."""
    return StartFailure(failure=kind, message=redacted(message)[:MESSAGE_CHARS_MAX])


def plain(text: str) -> str:
    """Without colours."""
    return _COLOURS.sub("", text)
