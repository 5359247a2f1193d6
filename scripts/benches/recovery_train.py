"""What `scripts/bench recovery` trains on both sides: recovery_train.py STATE_URL MARKS_URL, both s3://BUCKET/PREFIX.

Under launch it uses `launcher.train`; alone it saves with torch.save to STATE_URL every few steps, as a person would write it.
Either way it marks when it started, had imported torch, had its state and made its first step, and its last where it is told to
end. All clocks here are one machine's.
"""

import io
import json
import os
import sys
import time
import uuid

STARTED = time.time()

import torch  # noqa: E402 - what imports cost is what is measured
from botocore.session import Session  # noqa: E402 - the instances have s3fs, and so no boto3

IMPORTED = time.time()
STEPS, STEP_S, SAVE_EVERY, WIDTH = 1_000_000, 0.1, 20, 400

state_bucket, _, state_key = sys.argv[1].removeprefix("s3://").partition("/")
marks_bucket, _, marks_prefix = sys.argv[2].removeprefix("s3://").partition("/")
s3 = Session().create_client("s3")
mark_key = f"{marks_prefix}/{time.time():.3f}-{uuid.uuid4().hex}"


def mark(**times: float) -> None:
    s3.put_object(
        Bucket=marks_bucket, Key=mark_key, Body=json.dumps({"started": STARTED, "imported": IMPORTED, **times}).encode()
    )


def one_step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    began = time.monotonic()
    optimizer.zero_grad()
    model(torch.randn(8, WIDTH)).square().mean().backward()
    optimizer.step()
    time.sleep(max(0.0, STEP_S - (time.monotonic() - began)))


def with_launch(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    from launcher import train

    checkpointer = train.Checkpointer(model=model, optimizer=optimizer)
    times: dict[str, float] = {}
    try:
        for step in checkpointer.steps(STEPS):
            times.setdefault("restored", time.time())
            one_step(model, optimizer)
            times["last"] = time.time()
            if "first" not in times:
                times |= {"first": time.time(), "step": step}
                mark(**times)
    finally:
        mark(**times)


def alone(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    first = 0
    try:
        found = s3.get_object(Bucket=state_bucket, Key=state_key)["Body"].read()
    except s3.exceptions.NoSuchKey:
        pass
    else:
        saved = torch.load(io.BytesIO(found), weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    restored = time.time()
    for step in range(first + 1, STEPS):
        one_step(model, optimizer)
        if step == first + 1:
            mark(restored=restored, first=time.time(), step=step)
        if step % SAVE_EVERY == 0:
            data = io.BytesIO()
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, data)
            s3.put_object(Bucket=state_bucket, Key=state_key, Body=data.getvalue())


model = torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, WIDTH))
optimizer = torch.optim.AdamW(model.parameters())
(with_launch if "LAUNCH_ATTEMPT" in os.environ else alone)(model, optimizer)
