"""Whole models: what is trained, used, evaluated, saved and loaded as one."""

from pyrnnfast.models.language_model import LanguageModel
from pyrnnfast.models.language_use import Evaluation
from pyrnnfast.models.loading import load
from pyrnnfast.models.scores import Report
from pyrnnfast.models.sequence_tagger import SequenceTagger
from pyrnnfast.models.tagger_use import TagReport
from pyrnnfast.models.text_classifier import TextClassifier

__all__ = ["Evaluation", "LanguageModel", "Report", "SequenceTagger", "TagReport", "TextClassifier", "load"]
