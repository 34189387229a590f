"""The one place that joins the rooms: compile and prove, decode → execute → write, evidence → sheets.

Nothing here imports torch unless a model is compiled or a program of torch's is run.
"""

from ..render import Look
from .programs import calibrate, compile_program, evenly, open_program
from .running import RunOptions, RunResult, check_options, run
from .sheets import sheet

__all__ = [
    "Look",
    "RunOptions",
    "RunResult",
    "calibrate",
    "check_options",
    "compile_program",
    "evenly",
    "open_program",
    "run",
    "sheet",
]
