"""Whole models: what is trained, sampled, evaluated, saved and loaded as one."""

from pyrnnfast.models.language_model import LanguageModel
from pyrnnfast.models.language_use import Evaluation

__all__ = ["Evaluation", "LanguageModel"]
