"""What a GPU can do at most, by its maker's data sheet: so that two of them can be compared before anybody has measured.

Peaks are dense ones (no structured sparsity) of the tensor cores in 16 bits, bf16 where the chip has it, and of plain fp32. A
cloud may build in a weaker board of the same name; a measured speed is worth more than any of these.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One GPU: peaks in TFLOP/s, memory in GiB, its bandwidth in GB/s."""

    tflops_16: float
    tflops_32: float
    memory_gib: float
    bandwidth: float
    source: str


# NVIDIA's data sheets; where one gives a figure with sparsity only, half of it.
CHIPS = {
    "T4": Chip(tflops_16=65, tflops_32=8.1, memory_gib=16, bandwidth=320, source="NVIDIA T4 data sheet, 2019"),
    "V100": Chip(tflops_16=125, tflops_32=15.7, memory_gib=16, bandwidth=900, source="NVIDIA V100 (SXM2) data sheet, 2020"),
    "V100-32GB": Chip(tflops_16=125, tflops_32=15.7, memory_gib=32, bandwidth=900, source="NVIDIA V100 (SXM2) data sheet, 2020"),
    "A10": Chip(tflops_16=125, tflops_32=31.2, memory_gib=24, bandwidth=600, source="NVIDIA A10 data sheet, 2021"),
    "A10G": Chip(tflops_16=70, tflops_32=31.5, memory_gib=24, bandwidth=600, source="NVIDIA A10G data sheet, 2022"),
    "A100": Chip(tflops_16=312, tflops_32=19.5, memory_gib=40, bandwidth=1555, source="NVIDIA A100 (40 GB) data sheet, 2020"),
    "A100-80GB": Chip(tflops_16=312, tflops_32=19.5, memory_gib=80, bandwidth=2039, source="NVIDIA A100 (SXM) data sheet, 2021"),
    "L4": Chip(tflops_16=121, tflops_32=30.3, memory_gib=24, bandwidth=300, source="NVIDIA L4 data sheet, 2023"),
    "L40S": Chip(tflops_16=362, tflops_32=91.6, memory_gib=48, bandwidth=864, source="NVIDIA L40S data sheet, 2023"),
    "H100": Chip(tflops_16=989, tflops_32=67, memory_gib=80, bandwidth=3350, source="NVIDIA H100 (SXM) data sheet, 2023"),
    "H100-MEGA": Chip(tflops_16=989, tflops_32=67, memory_gib=80, bandwidth=3350, source="NVIDIA H100 (SXM) data sheet, 2023"),
    "H100-PCIe": Chip(tflops_16=756, tflops_32=51, memory_gib=80, bandwidth=2000, source="NVIDIA H100 (PCIe) data sheet, 2023"),
    "H100-NVL": Chip(tflops_16=835, tflops_32=60, memory_gib=94, bandwidth=3900, source="NVIDIA H100 (NVL) data sheet, 2024"),
    "GH200": Chip(tflops_16=990, tflops_32=67, memory_gib=96, bandwidth=4000, source="NVIDIA GH200 data sheet, 2023"),
    "H200": Chip(tflops_16=989, tflops_32=67, memory_gib=141, bandwidth=4800, source="NVIDIA H200 data sheet, 2024"),
    "B200": Chip(tflops_16=2250, tflops_32=75, memory_gib=180, bandwidth=8000, source="NVIDIA HGX B200 data sheet, 2024"),
}
