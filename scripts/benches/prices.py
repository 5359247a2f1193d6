"""`scripts/bench prices`: CPU of `launch prices H100 --spot`, cold over 60,000 rows and warm, beside a bare interpreter.

The rows are generated in the layouts of the real lists, as many as SkyPilot's catalogs of AWS, GCP and Azure have together, and
one in five with a GPU: the others are machines without, as there.
"""

import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

COLD_MOST_S, WARM_MOST_S = 3.0, 0.25
GPUS = {"T4": 0.5, "V100": 3.0, "A100": 4.0, "A100-80GB": 5.0, "H100": 12.0, "L4": 0.8}
AWS_ROWS, GCP_ROWS, AZURE_ROWS = 38_000, 16_000, 6_000


def lists(folder: Path) -> int:
    """Three lists; gives how many rows they have."""
    dice = random.Random(1)
    aws = ["InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch"]
    for n in range(AWS_ROWS):
        gpu, price = dice.choice([*GPUS.items()]) if n % 5 == 0 else ("", 1.0)
        info = f"\"{{'Gpus': [{{'Name': '{gpu}', 'Manufacturer': 'NVIDIA', 'Count': 1}}]}}\""
        spot = price * dice.uniform(0.2, 1.0)
        row = (
            f"x{n % 400}.large",
            gpu,
            1.0 if gpu else "",
            8.0,
            61.0,
            info,
            price,
            spot,
            f"r-{n % 30}",
            f"r{n % 90}-az1",
            "x86_64",
        )
        aws.append(",".join(map(str, row)))
    gcp = ["InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice"]
    for n in range(GCP_ROWS // 2):
        gcp.append(f"a2-highgpu-1g,12.0,85.0,,,,r{n},r{n}-a,0.74,0.37")
        gcp.append(f",,,A100,1,,r{n},r{n}-a,{2.9 * dice.uniform(1.0, 1.2)},{1.2 * dice.uniform(0.8, 1.2)}")
    azure = ["InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,Generation"]
    for n in range(AZURE_ROWS):
        gpu = "H100,1" if n % 5 == 0 else ","
        azure.append(f"Standard_N{n},{gpu},40,320,,7.0,{7.0 * dice.uniform(0.2, 1.0)},r{n % 60},V2")
    for cloud, rows in (("aws", aws), ("gcp", gcp), ("azure", azure)):
        (folder / f"{cloud}.csv").write_text("\n".join(rows) + "\n")
    return AWS_ROWS + GCP_ROWS // 2 * 2 + AZURE_ROWS


def cpu_s(*command: str, **environment: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    launch = str(Path(sys.executable).with_name("launch"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "lists")
        folder.mkdir()
        num = lists(folder)
        question = (launch, "prices", "H100", "--spot", "--home", str(Path(scratch, "home")))
        cold = cpu_s(*question, LAUNCH_CATALOG=str(folder))
        warm = statistics.median(cpu_s(*question, LAUNCH_CATALOG=str(folder)) for _ in range(10))
    bare = statistics.median(cpu_s(sys.executable, "-c", "pass") for _ in range(10))
    print(f"{num} rows: cold {cold:.2f} s CPU, warm {warm:.3f} s (median of ten); a bare interpreter {bare:.3f} s")
    return 0 if cold <= COLD_MOST_S and warm <= WARM_MOST_S else 1


if __name__ == "__main__":
    sys.exit(main())
