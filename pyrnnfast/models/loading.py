"""A saved model of whatever kind."""

from __future__ import annotations

from pyrnnfast import validation
from pyrnnfast._types import Seed
from pyrnnfast.models.language_model import LanguageModel
from pyrnnfast.models.sequence_tagger import SequenceTagger
from pyrnnfast.models.text_classifier import TextClassifier
from pyrnnfast.training import storage
from pyrnnfast.training.files import Location


def load(location: Location, *, rng: Seed = None) -> LanguageModel | TextClassifier | SequenceTagger:
    """Read a model that the `save` of any model class wrote; arguments and errors as of their `load`."""
    classes = (LanguageModel, TextClassifier, SequenceTagger)
    kind = storage.load(validation.path("location", location), *(each.KIND for each in classes)).kind
    found = next(each for each in classes if kind == each.KIND)
    return found.load(location, rng=rng)
