"""What a person is told of a machine that was refused: what the cloud said, and what helps."""

from launcher.core.instance import FailureKind, StartFailure
from launcher.core.plan.limits import ASK_AGAIN
from launcher.core.plan.quotas import CONSOLES


def told(failure: StartFailure, cloud: str) -> str:
    return f"{failure.message.rstrip('.')}; {_remedy(failure.failure, cloud)}"


def _remedy(failure: FailureKind, cloud: str) -> str:
    match failure:
        case FailureKind.CREDENTIALS:
            return f"renew the credentials for {cloud}; `launch doctor` tries them"
        case FailureKind.PERMISSION:
            return f"allow that at {cloud} to whoever starts the machines; `launch doctor` tries it"
        case FailureKind.RECIPE:
            return "name other machines under resources"
        case FailureKind.QUOTA:
            return f"ask for more at {CONSOLES.get(cloud, cloud)}; {ASK_AGAIN} tries again at once"
        case FailureKind.CAPACITY | FailureKind.UNREACHABLE:
            return "allow more places, GPUs or use_spot=auto under resources, or look for longer"
