"""Programs + batches -> maps: one runner for each runtime behind one call."""

from .devices import available, cuda_devices
from .runner import Runner, load

__all__ = ["Runner", "available", "cuda_devices", "load"]
