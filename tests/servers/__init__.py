"""Object-store servers on this machine for `tests/e2e`, and a proxy that spoils what passes between them and a client.

By hand, after `make servers` (or `make e2e`), from the root of the checkout:

    .venv/bin/python -m tests.servers s3 moto az gs             # any of them; free ports, 127.0.0.1 only
    .venv/bin/python -m tests.servers --proxied s3              # behind a fault proxy that lets everything through
    .venv/bin/python -m tests.servers --share 0.05 --seed 7 gs  # one request in twenty fails, drawn from the seed

prints for each server the URL of a store and the environment that reaches it, as lines to `export`, and stays until Ctrl-C:

    # s3: s3://bkt/...
    export AWS_ACCESS_KEY_ID=test
    export AWS_ENDPOINT_URL_S3=http://127.0.0.1:40123

s3 is ministack: 412 without a condition; it verifies and returns checksums. moto answers 412 with the condition, as AWS does, and
verifies no upload. az is Azurite. gs is our own (`google`), since the packaged ones ignore the preconditions on which a journal
rests. All hold the bucket or container `bkt`, in memory. Each is installed below `.servers/`, in an environment of its own.

In a test: the fixtures `remote` and `faulty` of `tests/e2e/conftest.py`.
"""
