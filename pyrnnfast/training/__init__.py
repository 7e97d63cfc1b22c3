"""Training that models share: the trainer, its tasks and options, files written whole, checkpoints, logs."""

from pyrnnfast.training.budget import Budget
from pyrnnfast.training.checkpoint import Checkpoint
from pyrnnfast.training.examples import Batches, ExampleTask, Learner, mean_loss
from pyrnnfast.training.options import RunOptions
from pyrnnfast.training.progress import Callback, Outcome, Progress
from pyrnnfast.training.report import History, Row, plot, read_csv
from pyrnnfast.training.tensorboard import TensorBoard
from pyrnnfast.training.trainer import Task, Trainer

__all__ = [
    "Batches",
    "Budget",
    "Callback",
    "Checkpoint",
    "ExampleTask",
    "History",
    "Learner",
    "Outcome",
    "Progress",
    "Row",
    "RunOptions",
    "Task",
    "TensorBoard",
    "Trainer",
    "mean_loss",
    "plot",
    "read_csv",
]
