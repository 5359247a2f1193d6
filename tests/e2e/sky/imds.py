"""EC2's instance metadata service, version 2, for one instance of the lab: imds.py FOLDER. Standard library only.

It listens inside the instance's own namespaces, at the address every program on EC2 knows. FOLDER/meta.json holds what never
changes; notice.json and rebalance.json are there once they are announced. EC2 User Guide, "Use IMDSv2" and "Spot Instance
interruption notices".
"""

import http.server
import json
import secrets
import sys
import time
from pathlib import Path

ROLE = "skypilot-v1"  # the one SkyPilot gives to its machines
TOKEN_TTL_MAX_S = 21600
_FOLDER = Path(sys.argv[1])
_ENDS_OF_TOKENS: dict[str, float] = {}
_ANNOUNCED = {
    "spot/instance-action": "notice.json",
    "spot/termination-time": "notice.json",
    "events/recommendations/rebalance": "rebalance.json",
}


def body_of(path: str) -> str | None:
    """None where there is nothing, or nothing yet."""
    meta: dict[str, str] = json.loads((_FOLDER / "meta.json").read_text())
    if path == "dynamic/instance-identity/document":
        return json.dumps(
            {
                "instanceId": meta["instance-id"],
                "region": meta["placement/region"],
                "instanceType": meta["instance-type"],
                "availabilityZone": meta["placement/availability-zone"],
                "privateIp": meta["local-ipv4"],
            }
        )
    key = path.removeprefix("meta-data/").rstrip("/")
    if key in _ANNOUNCED:
        return _announced(key)
    if key == "iam/security-credentials":
        return ROLE
    if key == f"iam/security-credentials/{ROLE}":
        return json.dumps(_credentials())
    return meta.get(key)


def _announced(key: str) -> str | None:
    path = _FOLDER / _ANNOUNCED[key]
    if not path.exists():
        return None
    said = json.loads(path.read_text())
    return str(said["time"]) if key == "spot/termination-time" else json.dumps(said)


def _credentials() -> dict[str, str]:
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6 * 3600))
    keys = {"AccessKeyId": "ASIAFAKEFAKEFAKEFAKE", "SecretAccessKey": "fake", "Token": "fake"}
    return {"Code": "Success", "Type": "AWS-HMAC", **keys, "Expiration": ends}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.path != "/latest/api/token":
            self._answer(404)
        elif not ttl.isdigit() or not 1 <= int(ttl) <= TOKEN_TTL_MAX_S:
            self._answer(400)
        else:
            token = secrets.token_urlsafe(40)
            _ENDS_OF_TOKENS[token] = time.time() + int(ttl)
            self._answer(200, token)

    def do_GET(self) -> None:
        if _ENDS_OF_TOKENS.get(self.headers.get("X-aws-ec2-metadata-token", ""), 0.0) < time.time():
            self._answer(401)
            return
        body = body_of(self.path.removeprefix("/latest/"))
        self._answer(404 if body is None else 200, body or "")

    def _answer(self, status: int, text: str = "") -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


http.server.ThreadingHTTPServer(("169.254.169.254", 80), Handler).serve_forever()
