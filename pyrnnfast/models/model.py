"""`Model`: what whole models share: their files, and the run that trains them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array, Seed
from pyrnnfast.layers.module import Module
from pyrnnfast.optim import AdamW
from pyrnnfast.text import Vocabulary
from pyrnnfast.training import History, RunOptions, Task, Trainer, checkpoint, storage
from pyrnnfast.training.files import Location

Shapes = Iterable[tuple[str, tuple[int, ...]]]
ModelT = TypeVar("ModelT", bound="Model")


class Model(Module):
    """A module with vocabularies and options, which is one file when it is saved.

    A subclass names its kind of file and the attributes that are vocabularies, and takes these and what
    `configuration` gives as its constructor's arguments.
    """

    KIND: ClassVar[str]
    VOCABULARIES: ClassVar[tuple[str, ...]] = ("vocabulary",)
    rng: np.random.Generator

    @property
    def configuration(self) -> dict[str, Any]:
        """The constructor's arguments besides vocabularies and rng, as JSON has them.

        Raises ValueError where a recurrent layer was replaced by one with options that these do not tell.
        """
        raise NotImplementedError

    @staticmethod
    def shapes(sizes: Mapping[str, int], configuration: Mapping[str, Any]) -> Shapes:
        """Give name and shape of each parameter, one after the other, from what a file claims.

        sizes: those of the vocabularies. May raise TypeError, ValueError or KeyError for claims of any type.
        """
        raise NotImplementedError

    def save(self, location: Location) -> None:
        """Write weights, configuration and vocabularies into one safetensors file, whole or not at all.

        Raises TypeError when location is no path, OSError when it cannot be written, ValueError when a layer
        was replaced by one that the configuration does not describe.
        """
        location = validation.path("location", location)
        found, tensors = self.configuration, self.state_dict()
        words = {name: getattr(self, name) for name in self.VOCABULARIES}
        sizes = {name: len(vocabulary) for name, vocabulary in words.items()}
        try:
            _check_tensors(self.shapes(sizes, found), found["dtype"], tensors)
        except ValueError as error:
            raise ValueError(f"the layers must be those of the configuration, got others: {error}") from None
        description: dict[str, Any] = {"configuration": found}
        description |= {name: vocabulary.to_json() for name, vocabulary in words.items()}
        storage.save(location, self.KIND, description, tensors)

    @classmethod
    def load(cls: type[ModelT], location: Location, *, rng: Seed = None) -> ModelT:
        """Read a model that `save` wrote.

        rng: as the constructor's; it plays a part only in dropout and in what is drawn without a seed.
        Raises TypeError when location is no path, OSError when the file cannot be read, ValueError with one
        sentence when it is no such model, is truncated, or contradicts itself.
        """
        rng = validation.generator(rng)
        stored = storage.load(validation.path("location", location), cls.KIND)
        make: Callable[..., ModelT] = cls
        try:
            found = stored.description.get("configuration")
            if not isinstance(found, dict):
                raise ValueError("the configuration is missing")
            words = {
                name: Vocabulary.from_json(stored.description.get(name, "")) for name in cls.VOCABULARIES
            }
            sizes = {name: len(vocabulary) for name, vocabulary in words.items()}
            _check_tensors(cls.shapes(sizes, found), found.get("dtype"), stored.tensors)
            model = make(**words, **found, rng=rng)
            if model.configuration != found:
                expected, got = sorted(model.configuration), sorted(found)
                raise ValueError(f"the configuration must have {expected}, got {got}")
        except KeyError as error:
            raise ValueError(f"{location}: is damaged: the configuration has no {error}") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"{location}: is damaged: {error}") from None
        model.load_state_dict(stored.tensors)
        return model.eval()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Be in eval mode inside of the `with` block."""
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)

    def trainer(self, task: Task, options: RunOptions, recipe: Mapping[str, Any]) -> Trainer:
        """Return the run of a task with AdamW, at its start or, as options say, where it stopped.

        recipe: what must be the same when it is resumed, besides what model and options add.
        Raises ValueError when it is another run's checkpoint, OSError when it cannot be read.
        """
        state = best = None
        if options.checkpoint is not None and options.model is not None and options.resume:
            state = checkpoint.load(options.checkpoint)
            best = type(self).load(options.model).state_dict()
        described = {} if options.model is None else self.configuration  # replaced layers may be trained
        every = None if options.budget.minutes is not None else options.valid_every
        reached = None if state is None else validation.integer("step", state.progress.get("step"), 0)
        trainer = Trainer(
            task,
            AdamW(self, options.lr, weight_decay=options.weight_decay),
            peak=options.lr,
            budget=options.budget,
            clip=options.clip,
            valid_every=every,
            patience=options.patience,
            rng=self.rng,
            history=History(options.history, reached, every),
            checkpoint=options.checkpoint,
            recipe={**recipe, **described, **options.recipe},
            callbacks=options.callbacks,
            reserve=options.reserve,
            validations=options.validations,
            started=options.started,
        )
        if state is not None and best is not None:
            trainer.resume(state, best)
        return trainer


def _check_tensors(shapes: Shapes, dtype: object, tensors: Mapping[str, Array]) -> None:
    """Hold the tensors against the shapes, before anything of their sizes is allocated."""
    validation.choice("dtype", dtype, ("float32", "float64"))
    left = dict(tensors)
    for name, shape in shapes:
        if name not in left:
            raise ValueError(f"the tensor {name!r} is missing")
        tensor = left.pop(name)
        if tensor.shape != shape or tensor.dtype != dtype:
            raise ValueError(f"{name!r} must be {dtype} {shape}, got {tensor.dtype} {tensor.shape}")
    if left:
        raise ValueError(f"the tensor {min(left)!r} is unexpected")
