"""The one place that joins the rooms: compile and prove, decode → execute → write, evidence → sheets.

Nothing here imports torch unless a model is compiled or a program of torch's is run.
"""

from ..render import Look
from .folder import RunFolder, is_held
from .options import RunOptions, RunResult, Standing, check_options
from .programs import calibrate, compile_program, evenly, open_program
from .running import run
from .sheets import sheet
from .status import Status, read_status
from .views import PLACE, read_views, view_of

__all__ = [
    "PLACE",
    "Look",
    "RunFolder",
    "RunOptions",
    "RunResult",
    "Standing",
    "Status",
    "calibrate",
    "check_options",
    "compile_program",
    "evenly",
    "is_held",
    "open_program",
    "read_status",
    "read_views",
    "run",
    "sheet",
    "view_of",
]
