"""Programs + batches -> maps: one runner for each runtime behind one call."""

from .artefact import open_artefact
from .asking import program_inputs
from .choosing import Choice, candidates, fastest, remembered, versions
from .devices import cuda_devices
from .runner import Origin, Runner, load

__all__ = [
    "Choice",
    "Origin",
    "Runner",
    "candidates",
    "cuda_devices",
    "fastest",
    "load",
    "open_artefact",
    "program_inputs",
    "remembered",
    "versions",
]
