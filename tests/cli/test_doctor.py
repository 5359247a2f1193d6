"""`launch doctor`: this machine and clouds, found without starting anything; AWS and SkyPilot are played on this machine."""

import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from launcher.app import checkup, checkup_clouds
from launcher.app.checkup import Finding, Verdict, together
from launcher.app.checkup_clouds import clouds
from launcher.core.recipe import CheckpointSpec, Recipe, Resources
from tests import builders
from tests.cli.past import document, home, launch
from tests.market.hosting import answering

GOOD = Finding(check="fine", verdict=Verdict.GOOD, text="yes")


def recipe(*infra: str, store: str) -> Recipe:
    return builders.recipe(resources=Resources(infra=infra), checkpoint=CheckpointSpec(dir=store))


ON_AWS = recipe("aws/eu-west-1", store="s3://corp/ckpt")


def found_by(asked: Recipe | None) -> dict[str, Finding]:
    return {finding.check: finding for finding in clouds(asked)}


class TestSeveralLooksAtOnce:
    def test_what_comes_first_is_told_first_and_who_hangs_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        never, now, late = threading.Event(), [0.0], replace(GOOD, text="at last")
        monkeypatch.setattr(checkup.time, "monotonic", lambda: now[0])

        def hanging() -> Iterator[Finding]:
            for thread in threading.enumerate():
                if thread.name == "quick":
                    thread.join()
            yield late
            never.wait()

        told = together({"quick": [GOOD], "slow": hanging()}, within=60.0)
        assert [next(told), next(told)] == [GOOD, late]
        now[0] = 61.0
        (hangs,) = told
        assert (hangs.check, hangs.verdict) == ("slow", Verdict.UNTOLD)
        never.set()

    def test_one_that_breaks_is_a_finding_and_no_trace(self) -> None:
        def broken() -> Iterator[Finding]:
            yield GOOD
            raise ValueError("a library's own trouble")

        told = list(together({"aws": broken()}, within=10.0))
        assert told[0] is GOOD
        assert (told[1].check, told[1].verdict) == ("aws", Verdict.UNTOLD)
        assert "a library's own trouble" in told[1].text


class TestWithNothingInstalled:
    @pytest.fixture(autouse=True)
    def nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.delenv("LAUNCH_CATALOG", raising=False)
        monkeypatch.setattr(checkup_clouds, "find_spec", lambda name: None)

    def test_it_says_what_is_missing_with_remedies_and_leaves_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        told = document(capsys, "doctor")
        found = {check["check"]: check for check in told["checks"]}
        assert (told["ok"], told["exit_code"], told["store"], told["schema_version"]) == (True, 0, None, 1)
        assert {"versions", "torch", "gpus", "home", "prices", "skypilot", "aws account"} == set(found)
        assert found["prices"]["remedy"] == "`launch prices --refresh`"
        assert "spot-launch[sky,aws]" in found["skypilot"]["remedy"]
        assert not home().exists()

    def test_a_home_that_cannot_be_written_fails(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        assert launch("doctor", "--home", str(tmp_path / "file/home")) == 2
        assert "--home or LAUNCH_HOME" in capsys.readouterr().out

    def test_a_recipe_for_clouds_cannot_work_here(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        path = tmp_path / "r.yaml"
        path.write_text("{resources: {infra: [gcp]}, run: a, secrets: [NOT_SET], checkpoint: {dir: '%s'}}" % (tmp_path / "store"))
        assert launch("doctor", str(path), "-o", "json") == 5
        told = {check["check"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
        assert told["machines"]["verdict"] == told["secrets"]["verdict"] == "failed"
        assert "NOT_SET" in told["secrets"]["text"]
        assert told["create"]["verdict"] == "ok", "its store is tried out as well"

    def test_a_rehearsal_needs_no_cloud(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        path = tmp_path / "r.yaml"
        path.write_text("{resources: {infra: local}, run: a}")
        assert "skypilot" not in {check["check"] for check in document(capsys, "doctor", str(path))["checks"]}


# --- AWS, as botocore hears it -------------------------------------------------------------------------------------------------


class Aws(ThreadingHTTPServer):
    """`errors` by action; `quotas` by name."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.errors = {"RunInstances": "DryRunOperation", "TerminateInstances": "InvalidInstanceID.NotFound"}
        self.quotas: dict[str, float] = {"All P Spot Instance Requests": 0.0, "Running On-Demand P instances": 8.0}
        self.asked: list[dict[str, str]] = []
        self.now: float | None = None


class _Handler(BaseHTTPRequestHandler):
    server: Aws

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        target = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        question = {name: values[-1] for name, values in parse_qs(text).items()}
        action = target or question["Action"]
        self.server.asked.append({**question, "Action": action, "region": self.headers["Authorization"].split("/")[2]})
        code = self.server.errors.get(action)
        if target:
            quotas = [{"QuotaName": name, "Value": value} for name, value in self.server.quotas.items()]
            body = json.dumps({"__type": code, "message": "no"} if code else {"Quotas": quotas})
        elif code:
            body = f"<Response><Errors><Error><Code>{code}</Code><Message>no</Message></Error></Errors></Response>"
            body = body if action != "GetCallerIdentity" else f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"
        else:
            inner = {
                "GetCallerIdentity": "<GetCallerIdentityResult><Arn>arn:aws:iam::1:user/me</Arn></GetCallerIdentityResult>",
                "DescribeImages": "<imagesSet><item><imageId>ami-1</imageId></item></imagesSet>",
            }.get(action, "")
            body = f"<{action}Response>{inner}</{action}Response>"
        self.send_response(400 if code else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.now)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        pass


class TestAws:
    @pytest.fixture
    def aws(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
        pytest.importorskip("botocore", reason="botocore is not installed; the extra s3 brings it")
        monkeypatch.setattr(checkup_clouds, "find_spec", lambda name: None)
        with answering(Aws()) as made:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{made.server_port}")
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
            yield made

    def test_who_asks_what_they_may_and_how_much_is_told_of_the_recipes_region(self, aws: Aws) -> None:
        found = found_by(ON_AWS)
        assert "arn:aws:iam::1:user/me" in found["aws account"].text
        assert {question["region"] for question in aws.asked} == {"eu-west-1"}
        assert found["aws clock"].verdict is Verdict.GOOD
        assert (found["aws rights"].verdict, found["aws rights"].text) == (
            Verdict.GOOD,
            "by dry runs: see machines yes, start yes, end EC2 does not say",
        )
        assert (found["aws quota"].verdict, found["aws quota"].figures) == (Verdict.GOOD, {"P spot": 0.0, "P on demand": 8.0})

    def test_everything_that_would_cost_money_is_a_dry_run(self, aws: Aws) -> None:
        found_by(ON_AWS)
        acts = [question for question in aws.asked if question["Action"] in ("RunInstances", "TerminateInstances")]
        assert [act["DryRun"] for act in acts] == ["true", "true"]
        harmless = ("GetCallerIdentity", "DescribeInstances", "DescribeImages", "ListServiceQuotas")
        assert {question["Action"] for question in aws.asked} - {act["Action"] for act in acts} == set(harmless)

    def test_a_right_that_is_missing_fails_and_no_machine_can_be_started(self, aws: Aws) -> None:
        aws.errors["RunInstances"] = "UnauthorizedOperation"
        found = found_by(ON_AWS)
        assert (found["aws rights"].verdict, found["machines"].exit_code) == (Verdict.BAD, 5)
        assert "start no" in found["aws rights"].text
        assert "docs/permissions.md" in (found["aws rights"].remedy or "")
        assert "machines" not in found_by(None), "where no recipe asks for one"

    def test_no_quota_at_all_is_told_with_the_page_to_ask_on(self, aws: Aws) -> None:
        aws.quotas = dict.fromkeys(aws.quotas, 0.0)
        found = found_by(ON_AWS)["aws quota"]
        assert found.verdict is Verdict.POOR
        assert "https://eu-west-1.console.aws.amazon.com" in (found.remedy or "")
        aws.errors["ListServiceQuotas"] = "AccessDeniedException"
        assert found_by(ON_AWS)["aws quota"].verdict is Verdict.UNTOLD

    def test_credentials_that_aws_does_not_know(self, aws: Aws) -> None:
        aws.errors["GetCallerIdentity"] = "InvalidClientTokenId"
        found = found_by(None)
        assert "InvalidClientTokenId" in found["aws account"].text
        assert "aws rights" not in found

    def test_a_clock_that_is_off(self, aws: Aws) -> None:
        aws.now = 1.7e9
        assert found_by(None)["aws clock"].verdict is Verdict.BAD


# --- SkyPilot, as a package that answers as its check does ---------------------------------------------------------------------

SKY_CLOUDS = """
import enum, time
print("noise of a library")
class CloudCapability(enum.Enum):
    COMPUTE = "compute"
class Cloud:
    def __init__(self, name):
        self.name = name
    def check_credentials(self, capability):
        if self.name == "azure":
            time.sleep(600)
        if self.name == "slurm":
            raise ImportError("no such tool")
        reason = "\\x1b[33mGCP tools are not installed. Run the following commands:\\n  $ pip install something"
        return (True, None) if self.name == "aws" else (False, reason)
"""


class TestSkyPilot:
    @pytest.fixture(autouse=True)
    def skypilot(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(checkup_clouds, "find_spec", lambda name: True)
        monkeypatch.setattr(checkup_clouds.metadata, "version", lambda name: "0.14.1")
        monkeypatch.setattr(checkup_clouds, "_aws", lambda recipe: ())
        (tmp_path / "sky/utils").mkdir(parents=True)
        for path in ("sky/__init__.py", "sky/utils/__init__.py"):
            (tmp_path / path).write_text("")
        (tmp_path / "sky/clouds.py").write_text(SKY_CLOUDS)
        text = "from sky.clouds import Cloud\nclass CLOUD_REGISTRY:\n    from_str = Cloud\n"
        (tmp_path / "sky/utils/registry.py").write_text(text)
        ours = str(Path(sys.modules["launcher"].__path__[0]).parent)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), ours)))

    def test_each_cloud_in_its_own_words_and_with_a_remedy(self) -> None:
        asked = recipe("gcp", "slurm", "aws", store="s3://corp/ckpt")
        found = found_by(asked)
        assert (found["aws"].verdict, found["machines"].text) == (Verdict.GOOD, "may be started on aws")
        assert found["gcp"].text == "GCP tools are not installed."
        assert "gcloud auth" in (found["gcp"].remedy or "")
        assert "no such tool" in found["slurm"].text
        assert "store key" not in found, "on aws the role will do"

    def test_a_cloud_whose_tool_hangs_is_given_up_and_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(checkup_clouds, "SKYPILOT_MOST_S", 1.0)
        found = found_by(recipe("azure", store="az://corp/ckpt"))
        assert (found["azure"].verdict, found["machines"].exit_code) == (Verdict.UNTOLD, 5)
