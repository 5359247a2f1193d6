"""Which servers there are: where each is installed, how it is started, and what a client needs in its environment.

Clients learn the address from the environment variables of the provider's own libraries, as a user's would.
"""

import base64
import hashlib
import hmac
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

BUCKET = "bkt"
INSTALLED = Path(__file__).parents[2] / ".servers"  # `make servers`
_AZURITE_ACCOUNT = "devstoreaccount1"  # with its key built in and published by Azurite
_AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    name: str
    scheme: str
    needs: Path  # what is there once it is installed
    command: Callable[[int], list[str]]
    environment: Callable[[int], dict[str, str]]  # for clients, which may talk to a proxy's port
    make_bucket: Callable[[int], None]

    def url(self, prefix: str) -> str:
        return f"{self.scheme}://{BUCKET}/{prefix}"


def _s3_environment(port: int) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
    }


def _gs_environment(port: int) -> dict[str, str]:
    return {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}", "GOOGLE_CLOUD_PROJECT": "p", "NO_GCE_CHECK": "true"}


def _az_environment(port: int) -> dict[str, str]:
    endpoint = f"http://127.0.0.1:{port}/{_AZURITE_ACCOUNT}"
    parts = {
        "DefaultEndpointsProtocol": "http",
        "AccountName": _AZURITE_ACCOUNT,
        "AccountKey": _AZURITE_KEY,
        "BlobEndpoint": f"{endpoint};",
    }
    return {"AZURE_STORAGE_CONNECTION_STRING": ";".join(f"{name}={value}" for name, value in parts.items())}


def _put_bucket(port: int) -> None:
    _put(f"http://127.0.0.1:{port}/{BUCKET}", {})


def _put_container(port: int) -> None:
    """Azurite takes only signed requests (Microsoft, "Authorize with Shared Key"; read 2026-11-24)."""
    headers = {"x-ms-date": formatdate(time.time(), usegmt=True), "x-ms-version": "2021-12-02"}
    # None of the eleven standard headers is sent; then ours, then the resource, the account named twice as emulators want it.
    ours = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
    resource = f"/{_AZURITE_ACCOUNT}/{_AZURITE_ACCOUNT}/{BUCKET}\nrestype:container"
    text = "PUT" + 12 * "\n" + ours + resource
    signature = hmac.new(base64.b64decode(_AZURITE_KEY), text.encode(), hashlib.sha256)
    headers["Authorization"] = f"SharedKey {_AZURITE_ACCOUNT}:{base64.b64encode(signature.digest()).decode()}"
    _put(f"http://127.0.0.1:{port}/{_AZURITE_ACCOUNT}/{BUCKET}?restype=container", headers)


def _put(url: str, headers: dict[str, str]) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers), timeout=30):
        pass


def _python(name: str, command: str) -> Path:
    return INSTALLED / name / "bin" / command


_HYPERCORN = _python("ministack", "hypercorn")
_MOTO = _python("moto", "moto_server")
_AZURITE = INSTALLED / "azurite" / "node_modules" / ".bin" / "azurite-blob"

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            name="s3",
            scheme="s3",
            needs=_HYPERCORN,
            # Its own command listens on every interface; this does not. Without a worker, the process is the one to end.
            command=lambda port: [str(_HYPERCORN), "ministack.app:app", "--workers", "0", "--bind", f"127.0.0.1:{port}"],
            environment=_s3_environment,
            make_bucket=_put_bucket,
        ),
        Kind(
            name="moto",
            scheme="s3",
            needs=_MOTO,
            command=lambda port: [str(_MOTO), "-H", "127.0.0.1", "-p", str(port)],
            environment=_s3_environment,
            make_bucket=_put_bucket,
        ),
        Kind(
            name="az",
            scheme="az",
            needs=_AZURITE,
            command=lambda port: [
                *(str(_AZURITE), "--blobHost", "127.0.0.1", "--blobPort", str(port)),
                *("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"),
            ],
            environment=_az_environment,
            make_bucket=_put_container,
        ),
        Kind(
            name="gs",
            scheme="gs",
            needs=Path(sys.executable),
            command=lambda port: [sys.executable, "-m", "tests.servers.google", str(port), BUCKET],
            environment=_gs_environment,
            make_bucket=lambda _: None,
        ),
    )
}
