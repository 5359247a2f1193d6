"""`launch`: train PyTorch models on spot GPUs without losing work. Importing this loads nothing else."""

__version__ = "0.1.0"
