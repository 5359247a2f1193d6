"""Questions to EC2 and what belongs to it, with whatever credentials botocore's own chain finds, in bounded time.

botocore is what boto3 is made of; the extras `s3` and `aws` bring it along.
"""

from collections.abc import Mapping
from typing import Any

from launcher.units import Seconds

CONNECT_MOST_S: Seconds = 3.0
READ_MOST_S: Seconds = 8.0
# Of who asks, not of one region. AuthFailure is not among them: so answers a region that the account has not enabled.
REFUSED = ("UnauthorizedOperation", "RequestExpired", "ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch")


class NobodyAsks(Exception):
    """Nothing here says who asks. `str()` says what is missing, for a person."""


class Unanswered(Exception):
    """No answer, or none but an error. `code`: EC2's own, "" where there was no answer."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


def session() -> Any:
    """Raises NobodyAsks."""
    try:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ImportError:
        raise NobodyAsks("botocore is not installed; pip install 'spot-launch[aws]'") from None
    made = Session()
    try:
        known = made.get_credentials()
    except BotoCoreError as error:
        raise NobodyAsks(f"no AWS credentials ({error})") from None
    if known is None:
        raise NobodyAsks("no AWS credentials")
    return made


class Region:
    """EC2, or another service, in one region; methods are asked as `region.ask("describe_instances", MaxResults=5)`."""

    def __init__(self, asking: Any, name: str, service: str = "ec2") -> None:
        self._asking = asking
        self._name = name
        self._service = service
        self._client: Any = None
        self.date: str | None = None  # when the newest answer was given, as an HTTP header says it

    def ask(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Raises Unanswered."""
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        retries = {"total_max_attempts": 2, "mode": "standard"}
        config = Config(connect_timeout=CONNECT_MOST_S, read_timeout=READ_MOST_S, retries=retries)
        try:
            if self._client is None:
                self._client = self._asking.create_client(self._service, region_name=self._name, config=config)
            found: dict[str, Any] = getattr(self._client, method)(**arguments)
        except ClientError as error:
            self._note_date(error.response)
            code = error.response.get("Error", {}).get("Code", "")
            raise Unanswered(f"answers {code}", code) from None
        except (BotoCoreError, ResponseParserError, RuntimeError) as error:  # a portal's page; a login renewed that is past still
            raise Unanswered(str(error).partition("\n")[0]) from None
        self._note_date(found)
        return found

    def _note_date(self, answer: Mapping[str, Any]) -> None:
        self.date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", self.date)

    def zone_ids(self) -> dict[str, str]:
        """By this account's names for the zones, since a name such as us-east-1a means another zone in each account.

        (EC2 API reference, DescribeAvailabilityZones.) Raises Unanswered.
        """
        zones = self.ask("describe_availability_zones").get("AvailabilityZones", ())
        return {zone["ZoneName"]: zone["ZoneId"] for zone in zones if "ZoneName" in zone and "ZoneId" in zone}
