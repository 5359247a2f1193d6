"""Whether machines can be started on clouds: who asks, what an account lets us do, what SkyPilot can use. Nothing is started.

AWS is asked by ourselves, in the region that matters. Of all others SkyPilot's own check is what there is.
"""

from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec

from launcher.adapters import ec2
from launcher.adapters.aws_account import AwsAccount
from launcher.app import wiring
from launcher.app.checkup import Finding, Verdict, clock_finding, together
from launcher.core.plan.access import locked_out
from launcher.core.recipe import Recipe
from launcher.errors import AccessError
from launcher.units import Seconds

USUAL = ("aws", "gcp", "azure")  # what is looked at where no recipe says more
SKYPILOT_MOST_S: Seconds = 60.0  # 12 s on a calm machine, most of them an import
_WITHIN_S: Seconds = SKYPILOT_MOST_S + 10.0  # AWS answers within seconds, or is given up by its own limits
_LOGINS = {
    "aws": "`aws configure` or `aws sso login`, and pip install 'spot-launch[aws]'",
    "gcp": "`gcloud auth application-default login`, and pip install 'spot-launch[gcp]'",
    "azure": "`az login`, and pip install 'spot-launch[azure]'",
}
_ANSWERS = {True: "yes", False: "no", None: "EC2 does not say"}


def clouds(recipe: Recipe | None) -> Iterator[Finding]:
    """`recipe`: one that is for clouds; None: of the usual ones, and nothing is asked for."""
    named = tuple(dict.fromkeys(text.partition("/")[0] for text in recipe.resources.infra)) if recipe else ()
    wanted = named or USUAL
    looks = {"skypilot": _skypilot(wanted)} | ({"aws account": _aws(recipe)} if "aws" in wanted else {})
    usable, refused = set(), False
    for finding in together(looks, _WITHIN_S):
        usable |= {finding.check} & set(wanted) if finding.verdict is Verdict.GOOD else set()
        refused = refused or (finding.check == "aws rights" and finding.verdict is Verdict.BAD)
        yield finding
    if recipe is not None:
        yield from _for_recipe(recipe, wanted, usable - ({"aws"} if refused else set()))


def _for_recipe(recipe: Recipe, wanted: Sequence[str], usable: set[str]) -> Iterator[Finding]:
    if usable:
        yield Finding(check="machines", verdict=Verdict.GOOD, text=f"may be started on {', '.join(sorted(usable))}")
    else:
        yield Finding(
            check="machines",
            verdict=Verdict.BAD,
            text=f"cannot be started on {' or '.join(wanted)}",
            remedy="see above, or name another cloud in resources.infra",
            exit_code=AccessError.exit_code,
        )
    unset = wiring.unset(recipe.secrets)
    if unset:
        text, remedy = f"secrets names {', '.join(unset)}, not set here", "set them, or take them out of secrets"
        exit_code = AccessError.exit_code
        yield Finding(check="secrets", verdict=Verdict.BAD, text=text, remedy=remedy, exit_code=exit_code)
    said = locked_out(recipe, usable or wanted)
    if said is not None:
        text, _, remedy = said.partition("; ")
        yield Finding(check="store key", verdict=Verdict.POOR, text=text, remedy=remedy)


# --- SkyPilot ------------------------------------------------------------------------------------------------------------------


def _skypilot(wanted: Sequence[str]) -> Iterator[Finding]:
    if find_spec("sky") is None:
        text, remedy = "not installed; it starts the machines on clouds", "pip install 'spot-launch[sky,aws]' (or gcp, azure)"
        yield Finding(check="skypilot", verdict=Verdict.POOR, text=text, remedy=remedy)
        return
    yield _version()
    told = set()
    for found in wiring.skypilot_check(wanted, SKYPILOT_MOST_S):
        told.add(found.cloud)
        if found.is_usable:
            yield Finding(check=found.cloud, verdict=Verdict.GOOD, text="SkyPilot can use it")
        else:
            remedy = _LOGINS.get(found.cloud, f"`sky check {found.cloud}` says what is missing")
            yield Finding(check=found.cloud, verdict=Verdict.POOR, text=found.reason or "SkyPilot cannot use it", remedy=remedy)
    for cloud in (cloud for cloud in wanted if cloud not in told):
        text = f"SkyPilot does not answer ({SKYPILOT_MOST_S:g} s at most)"
        yield Finding(check=cloud, verdict=Verdict.UNTOLD, text=text, remedy=f"`sky check {cloud}` says why")


def _version() -> Finding:
    version, tested = metadata.version("skypilot"), wiring.skypilot_tested()
    if version in tested:
        return Finding(check="skypilot", verdict=Verdict.GOOD, text=f"SkyPilot {version}")
    text = f"SkyPilot {version}; tested is {', '.join(tested)}"
    return Finding(check="skypilot", verdict=Verdict.UNTOLD, text=text)


# --- AWS -----------------------------------------------------------------------------------------------------------------------


def _aws(recipe: Recipe | None) -> Iterator[Finding]:
    check = "aws account"
    try:
        account = AwsAccount(_region(recipe))
        who, ahead = account.who()
    except ec2.NobodyAsks as error:
        yield Finding(check=check, verdict=Verdict.POOR, text=str(error).partition("; ")[0], remedy=_LOGINS["aws"])
        return
    except ec2.Unanswered as error:
        remedy = _LOGINS["aws"] if error.code else "check the network"
        yield Finding(check=check, verdict=Verdict.POOR, text=f"AWS {error}", remedy=remedy)
        return
    yield Finding(check=check, verdict=Verdict.GOOD, text=f"{who}, asked in {account.region}")
    if ahead is not None:
        yield clock_finding("aws clock", ahead)
    yield _rights(account)
    yield _quota(account)


def _region(recipe: Recipe | None) -> str | None:
    """The first that the recipe names."""
    named = (text.split("/") for text in recipe.resources.infra) if recipe else ()
    return next((parts[1] for parts in named if parts[0] == "aws" and len(parts) > 1), None)


def _rights(account: AwsAccount) -> Finding:
    check = "aws rights"
    try:
        may = {"see machines": account.may_look(), "start": account.may_start(), "end": account.may_end()}
    except ec2.Unanswered as error:
        return Finding(check=check, verdict=Verdict.UNTOLD, text=f"EC2 {error}", remedy="try once more")
    text = f"by dry runs: {', '.join(f'{what} {_ANSWERS[answer]}' for what, answer in may.items())}"
    if False in may.values():
        return Finding(check=check, verdict=Verdict.BAD, text=text, remedy="give the account what docs/permissions.md lists")
    return Finding(check=check, verdict=Verdict.GOOD, text=text)


def _quota(account: AwsAccount) -> Finding:
    check = "aws quota"
    try:
        quotas = account.quotas()
    except ec2.Unanswered as error:
        text = f"cannot be read ({error})"
        remedy = "allow servicequotas:ListServiceQuotas" if error.code.startswith("AccessDenied") else None
        return Finding(check=check, verdict=Verdict.UNTOLD, text=text, remedy=remedy)
    if not quotas:
        return Finding(check=check, verdict=Verdict.UNTOLD, text=f"none is told of GPUs in {account.region}")
    text = f"vCPUs in {account.region}: {', '.join(f'{name} {vcpus:g}' for name, vcpus in quotas.items())}"
    page = f"https://{account.region}.console.aws.amazon.com/servicequotas/home/services/ec2/quotas"
    is_none = not any(quotas.values())
    return Finding(
        check=check,
        verdict=Verdict.POOR if is_none else Verdict.GOOD,
        text=text,
        remedy=f"ask for more at {page}" if is_none else None,
        figures=quotas,
    )
