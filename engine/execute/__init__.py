"""Programs + batches -> maps: one runner for each runtime behind one call."""

from .asking import program_inputs
from .choosing import Choice, candidates, fastest, remembered
from .devices import cuda_devices
from .runner import Runner, load

__all__ = [
    "Choice",
    "Runner",
    "candidates",
    "cuda_devices",
    "fastest",
    "load",
    "program_inputs",
    "remembered",
]
