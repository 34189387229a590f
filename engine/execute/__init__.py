"""Programs + batches -> maps: one runner for each runtime behind one call."""

from .asking import program_inputs
from .devices import cuda_devices
from .runner import Runner, load

__all__ = ["Runner", "cuda_devices", "load", "program_inputs"]
