"""The lab's price list and images, in the columns of SkyPilot's catalog: catalog.py CATALOG_FOLDER AMIS_FILE

Three regions of two zones. SkyPilot never overwrites a list that it did not download, so these stand. A zone is named by its id,
as moto reports it; the second zone's spot costs a tenth more, each further region a twentieth.
"""

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

REGIONS = {
    "us-east-1": (("use1-az6", "use1-az1"), 1.0),
    "us-east-2": (("use2-az1", "use2-az2"), 1.05),
    "us-west-2": (("usw2-az2", "usw2-az1"), 1.1),
}
# instance, GPU, how many, MiB of each, vCPUs, GiB, dollars an hour on demand and as spot
TYPES = (
    ("m6i.large", "", 0, 0, 2, 8, 0.10, 0.03),
    ("g6.xlarge", "L4", 1, 22888, 4, 16, 0.80, 0.25),
    ("p5.48xlarge", "H100", 8, 81559, 192, 2048, 55.0, 20.0),
)
# By which SkyPilot 0.14.1 looks for images (sky/clouds/aws.py); without the last one a GPU looks like a full zone.
TAGS = ("skypilot:custom-cpu-ubuntu", "skypilot:custom-gpu-ubuntu", "skypilot:custom-gpu-ubuntu-cuda13")
VMS = "InstanceType AcceleratorName AcceleratorCount vCPUs MemoryGiB GpuInfo Price SpotPrice Region AvailabilityZone Arch"


def main(folder: Path, amis: Path) -> None:
    write(folder / "aws/vms.csv", VMS.split(), list(vms()))
    write(folder / "aws/images.csv", "Tag Region OS OSVersion ImageId CreationDate BaseImageId".split(), list(images()))
    write(folder / "aws/instance_quota_mapping.csv", "InstanceType OnDemandInstanceCode SpotInstanceCode".split(), [])
    write(folder / "common/accelerators.csv", ["AcceleratorName", "Clouds"], [(gpu, "['AWS']") for _, gpu, *_ in TYPES if gpu])
    amis.write_text(json.dumps([ami(image, tag) for tag, _, _, _, image, *_ in images()]))


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def vms() -> Iterable[Sequence[object]]:
    for instance, gpu, count, mib, cpus, gib, price, spot in TYPES:
        for region, (zones, dearer) in REGIONS.items():
            for at, zone in enumerate(zones):
                prices = (round(price * dearer, 4), round(spot * dearer * (1 + 0.1 * at), 4))
                gpus = (gpu, float(count) if gpu else "")
                yield instance, *gpus, float(cpus), float(gib), gpu_info(gpu, count, mib), *prices, region, zone, "x86_64"


def gpu_info(gpu: str, count: int, mib: int) -> str:
    if not gpu:
        return ""
    each = {"Name": gpu, "Manufacturer": "NVIDIA", "Count": count, "MemoryInfo": {"SizeInMiB": mib}}
    return str({"Gpus": [each], "TotalGpuMemoryInMiB": mib * count})


def images() -> Iterable[tuple[str, ...]]:
    for number, region in enumerate(REGIONS):
        for at, tag in enumerate(TAGS):
            image = f"ami-5c1{number}{at}000000000000"
            yield tag, region, "ubuntu", "22.04", image, "20241104", image


def ami(image: str, tag: str) -> dict[str, object]:
    """As moto wants it."""
    fixed = "virtualization_type=hvm architecture=x86_64 state=available image_type=machine hypervisor=xen root_device_type=ebs"
    return {
        **dict(pair.split("=") for pair in fixed.split()),
        "ami_id": image,
        "name": image,
        "description": tag,
        "owner_id": "099720109477",
        "public": True,
        "platform": None,
        "root_device_name": "/dev/sda1",
        "sriov": "simple",
        "creation_date": "2024-11-04T00:00:00.000Z",
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
