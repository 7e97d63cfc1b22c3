"""Training that models share: the trainer, files written whole, checkpoints, reports."""

from pyrnnfast.training.budget import Budget
from pyrnnfast.training.checkpoint import Checkpoint
from pyrnnfast.training.report import History, Row, plot, read_csv
from pyrnnfast.training.trainer import Callback, Outcome, Progress, Task, Trainer

__all__ = [
    "Budget",
    "Callback",
    "Checkpoint",
    "History",
    "Outcome",
    "Progress",
    "Row",
    "Task",
    "Trainer",
    "plot",
    "read_csv",
]
