"""Who is let into the store."""

import pytest

from launcher.core.plan.access import locked_out
from launcher.core.recipe import CheckpointSpec
from tests.builders import recipe


@pytest.mark.parametrize(
    ("store", "secrets", "clouds", "says"),
    [
        ("s3://b", (), ("aws",), None),
        ("s3://b", (), ("aws", "gcp", "azure"), "azure or gcp"),
        ("s3://b", ("AWS_ACCESS_KEY_ID",), ("gcp",), "[AWS_SECRET_ACCESS_KEY]"),
        ("s3://b", ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("gcp",), None),
        ("az://b", (), ("aws",), "AZURE_STORAGE_CONNECTION_STRING"),
        ("abfs://b@a", (), ("azure",), None),
        ("file:///b", (), ("aws",), None),
        (None, (), ("aws",), None),
    ],
)
def test_elsewhere_a_key_must_be_named(
    store: str | None, secrets: tuple[str, ...], clouds: tuple[str, ...], says: str | None
) -> None:
    said = locked_out(recipe(checkpoint=CheckpointSpec(dir=store), secrets=secrets), clouds)
    assert (said is None) == (says is None)
    assert says is None or says in (said or "")
