"""What the progress of a run is counted in: the steps that its program tells, else the commits that were made of its files."""

from launcher.core.run.state import RunState
from launcher.units import Step


def unit_of(state: RunState) -> str:
    return "commit" if state.counts_commits else "step"


def at(number: Step, unit: str, total: Step | None = None) -> str:
    """ "step 120/400", "commit 3"; and before the first commit of a program that tells no steps, that nothing is saved."""
    if unit == "commit" and number == 0:
        return "nothing saved yet"
    return f"{unit} {number}/{total}" if total else f"{unit} {number}"


def told(number: Step | None, unit: str) -> dict[str, Step | None]:
    """The same for a program that reads: one of the two is null."""
    return {"step": number if unit == "step" else None, "commit": number if unit == "commit" else None}
