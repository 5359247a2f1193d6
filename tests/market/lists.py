"""Price lists for tests: a few rows of our own in the real layouts, and the folder of real ones where somebody has it."""

import os
from pathlib import Path

import pytest

VARIABLE = "LAUNCH_CATALOG"
FOLDER = os.environ.get(VARIABLE)
real = pytest.mark.skipif(not FOLDER and os.environ.get("CI") != "true", reason=f"{VARIABLE} names no folder of price lists")

AWS = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch"
GCP = "InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice"
AZURE = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,Generation"


def aws(*rows: tuple[str, str, float, object, object, str]) -> str:
    """Rows of (instance, gpu, count, on-demand, spot, zone id)."""
    lines = [f"{i},{gpu},{n},8.0,61.0,,{od},{spot},us-east-1,{zone},x86_64" for i, gpu, n, od, spot, zone in rows]
    return "\n".join((AWS, *lines, ""))


def gcp_host(instance: str, zone: str, price: object, spot: object) -> str:
    return f"{instance},12.0,85.0,,,,us-central1,{zone},{price},{spot}"


def gcp_gpu(gpu: str, count: int, zone: str, price: object, spot: object) -> str:
    return f",,,{gpu},{count},,us-central1,{zone},{price},{spot}"


def gcp(*lines: str) -> str:
    return "\n".join((GCP, *lines, ""))


def folder(path: Path, **lists: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for cloud, text in lists.items():
        (path / f"{cloud}.csv").write_text(text)
    return path
