"""What the providers' own tools keep in the environment and nobody else should see: by name, so that it can be kept back.

We store none of it. But libraries put what they were given into their errors, and programs print their environment.
"""

from collections.abc import Mapping

SECRET_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_PASSWORD",
    "GOOGLE_CREDENTIALS",
)
_SECRET_PARTS = ("accountkey", "sharedaccesssignature")  # of a connection string, "Name=value;Name=value"


_CHARS_MIN = 8  # a server for tests takes "test", and hiding every "test" would hide the log


def secrets_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Name and value of every secret of a provider in an environment; the parts of one that may be shown alone count too."""
    found: dict[str, str] = {}
    for name in SECRET_VARIABLES:
        value = environment.get(name, "")
        found[name] = value
        for part in value.split(";"):
            key, _, secret = part.partition("=")
            if key.strip().lower() in _SECRET_PARTS:
                found[f"{name}, {key.strip()}"] = secret
    return {name: value for name, value in found.items() if len(value) >= _CHARS_MIN}
