"""What an account of AWS lets us do, asked without doing any of it.

EC2 tells by a dry run whether it would let us (EC2 API reference, DryRun: the answer is an error either way, `DryRunOperation`
or `UnauthorizedOperation`). Quotas are told to whoever may read them (Service Quotas API, ListServiceQuotas).
"""

from typing import Any

from launcher.adapters import ec2
from launcher.adapters.store.providers.base import skew_of
from launcher.units import Seconds

REGION_DEFAULT = "us-east-1"  # where neither the recipe nor the profile names one
_IMAGES = "al2023-ami-2023.*-x86_64"  # Amazon's own, some dozens; which one does not matter to a dry run
_GPU_INSTANCE = "g4dn.xlarge"  # the GPU that most regions have; rights may be bound to types of instances
_NOBODYS = "i-00000000000000000"
_GPU_FAMILIES = ("G and VT", "P")  # of quotas, as in "Running On-Demand P instances", in vCPUs
_ALLOWED, _FORBIDDEN = "DryRunOperation", "UnauthorizedOperation"
_PAGES_MOST = 5


class AwsAccount:
    """Whoever botocore finds here, in one region. Raises ec2.NobodyAsks, and ec2.Unanswered from each method."""

    def __init__(self, region: str | None) -> None:
        self._asking = ec2.session()
        self.region = region or self._asking.get_config_variable("region") or REGION_DEFAULT
        self._ec2 = self._service("ec2")

    def who(self) -> tuple[str, Seconds | None]:
        """The name of who asks, and how far this machine's clock is before AWS's; None where the answer has no date."""
        sts = self._service("sts")
        arn = str(sts.ask("get_caller_identity").get("Arn", "somebody"))
        return arn, skew_of(sts.date)

    def may_look(self) -> bool:
        try:
            self._ec2.ask("describe_instances", MaxResults=5)
        except ec2.Unanswered as error:
            if error.code == _FORBIDDEN:
                return False
            raise
        return True

    def may_start(self) -> bool | None:
        """A GPU on spot, with labels; None where EC2 says something else first, such as that the account has no network."""
        images = self._ec2.ask("describe_images", Owners=["amazon"], Filters=[{"Name": "name", "Values": [_IMAGES]}])["Images"]
        if not images:
            return None
        label = {"ResourceType": "instance", "Tags": [{"Key": "launch-run", "Value": "doctor"}]}
        return self._would(
            "run_instances",
            ImageId=images[0]["ImageId"],
            InstanceType=_GPU_INSTANCE,
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[label],
            InstanceMarketOptions={"MarketType": "spot"},
        )

    def may_end(self) -> bool | None:
        """None where EC2 says first that there is no such machine."""
        return self._would("terminate_instances", InstanceIds=[_NOBODYS])

    def quotas(self) -> dict[str, float]:
        """vCPUs by family of GPU instances, such as "P spot"."""
        service = self._service("service-quotas")
        found: dict[str, float] = {}
        more: dict[str, str] = {}
        for _ in range(_PAGES_MOST):
            page = service.ask("list_service_quotas", ServiceCode="ec2", MaxResults=100, **more)
            found |= {quota["QuotaName"]: float(quota["Value"]) for quota in page.get("Quotas", ())}
            if not page.get("NextToken"):
                break
            more = {"NextToken": page["NextToken"]}
        named = {
            name: title
            for family in _GPU_FAMILIES
            for name, title in (
                (f"{family} spot", f"All {family} Spot Instance Requests"),
                (f"{family} on demand", f"Running On-Demand {family} instances"),
            )
        }
        return {name: found[title] for name, title in named.items() if title in found}

    def _would(self, method: str, **arguments: Any) -> bool | None:
        try:
            self._ec2.ask(method, DryRun=True, **arguments)
        except ec2.Unanswered as error:
            if not error.code:
                raise
            return {_ALLOWED: True, _FORBIDDEN: False}.get(error.code)
        return None

    def _service(self, name: str) -> ec2.Region:
        return ec2.Region(self._asking, self.region, name)
