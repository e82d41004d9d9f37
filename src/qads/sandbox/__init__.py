"""Programs that a model wrote: run them, and survive them."""

from qads.sandbox.results import ProgramResult
from qads.sandbox.running import Sandbox

__all__ = ["ProgramResult", "Sandbox"]
