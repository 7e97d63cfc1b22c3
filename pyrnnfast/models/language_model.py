"""`LanguageModel`: embedding, recurrent stack, softmax over the next token (Mikolov et al. 2010)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array, DTypeLike, Integers, Seed, State
from pyrnnfast.layers.dropout import Dropout
from pyrnnfast.layers.embedding import Embedding
from pyrnnfast.layers.linear import Linear
from pyrnnfast.losses import softmax_cross_entropy
from pyrnnfast.models import language_training, language_use
from pyrnnfast.models.language_use import Evaluation
from pyrnnfast.models.model import Model, Shapes
from pyrnnfast.models.stacks import check_options, check_told, make_stack, stack_shapes
from pyrnnfast.sampling import SamplingOptions
from pyrnnfast.text import Vocabulary
from pyrnnfast.training import Budget, Callback, Outcome, RunOptions

if TYPE_CHECKING:
    from onnx import ModelProto


class LanguageModel(Model):
    """Predicts the next token: logits = W h + b, h the output of a recurrent stack over embedded tokens.

    vocabulary: the tokens; it needs `<BOS>`, which is read before a text, and for unknown tokens `<UNK>`.
    cell: "lstm", "gru", "rnn" (tanh), "rnn_relu", "gru_reset_before" or "one_gate_gru". embedding, hidden,
    layers: E, H, L. dropout: probability of a zero in each layer's output, in training, default 0.
    recurrent_dropout: of one in the state where it enters the recurrent product, the same ones through a
    window (Gal and Ghahramani 2016), default 0. dtype: float32 or float64.
    rng: a numpy.random.Generator or a seed, for weights and dropout; fresh by default.
    Parameters: embedding.weight [V, E], recurrent.weight_ih_l0, ..., decoder.weight [V, H], decoder.bias.
    Raises TypeError and ValueError for arguments of a wrong type or range.
    """

    KIND = "language model"

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        cell: str = "lstm",
        embedding: int = 64,
        hidden: int = 256,
        layers: int = 1,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        dtype: DTypeLike = np.float32,
        rng: Seed = None,
    ) -> None:
        super().__init__()
        if not isinstance(vocabulary, Vocabulary):
            raise TypeError(f"vocabulary must be a Vocabulary, got {type(vocabulary).__name__}")
        if vocabulary.bos_id is None:
            raise ValueError(f"vocabulary must have <BOS>, got the specials {vocabulary.specials}")
        self.vocabulary = vocabulary
        check_options(cell, dropout, embedding=embedding, hidden=hidden, layers=layers)
        self.cell = cell
        self.rng = validation.generator(rng)
        self.dtype = validation.float_dtype("dtype", dtype)
        own: dict[str, Any] = {"dtype": self.dtype, "rng": self.rng}
        self.embedding = Embedding(len(vocabulary), embedding, **own)
        self.recurrent = make_stack(
            cell, embedding, hidden, layers, dropout, recurrent_dropout=recurrent_dropout, **own
        )
        self.dropout = Dropout(dropout, rng=self.rng)
        self.decoder = Linear(hidden, len(vocabulary), **own)

    @property
    def configuration(self) -> dict[str, Any]:
        """The constructor's arguments besides vocabulary and rng, as JSON has them."""
        check_told(self.recurrent, "recurrent_dropout")
        return {
            "cell": self.cell,
            "embedding": self.embedding.embedding_dim,
            "hidden": self.recurrent.hidden_size,
            "layers": self.recurrent.num_layers,
            "dropout": self.dropout.p,
            "recurrent_dropout": self.recurrent.recurrent_dropout,
            "dtype": self.dtype.name,
        }

    @staticmethod
    def shapes(sizes: Mapping[str, int], configuration: Mapping[str, Any]) -> Shapes:
        """Give name and shape of each parameter."""
        cell, embedding, hidden, layers = (
            configuration[name] for name in ("cell", "embedding", "hidden", "layers")
        )
        yield "embedding.weight", (sizes["vocabulary"], embedding)
        yield from stack_shapes("recurrent", cell, embedding, hidden, layers)
        yield "decoder.weight", (sizes["vocabulary"], hidden)
        yield "decoder.bias", (sizes["vocabulary"],)

    # --- Forward, backward, loss

    def __call__(self, ids: Integers, state: State | None = None) -> tuple[Array, State]:
        """Predict each next token.

        ids: [T, N] integers. state: h [L, N, H], for the LSTM (h, c); zeros by default.
        Returns (logits [T, N, V], state). Raises TypeError or ValueError for a wrong dtype, shape or range.
        """
        if isinstance(ids, np.ndarray):  # one sequence [T] is fine for the layer, which checks the rest
            validation.fits("ids", ids, ("T", "N"))
        y, final = self.recurrent(ids, state, embedding=self.embedding)[:2]
        return self.decoder(self.dropout(y)), final

    def backward(self, dlogits: Array) -> State:
        """Go back through this thread's last call in training; adds to `.grads`.

        dlogits: [T, N, V]. Returns the gradient of the initial state. Raises as the layers' `backward`.
        """
        dy = self.dropout.backward(self.decoder.backward(dlogits))
        _, dstate = self.recurrent.backward(dy)
        return dstate

    def loss_and_grads(
        self, inputs: Integers, targets: Integers, state: State | None = None
    ) -> tuple[float, State]:
        """Do forward and backward on one window of truncated BPTT (Williams and Peng 1990).

        inputs, targets: [T, N] integers, the target of a position being the next token. state: as in a call;
        no gradient goes into it. The gradients are added to `.grads`.
        Returns (mean loss in nats per token, final state to carry over).
        """
        logits, final = self(inputs, state)
        loss, dlogits = softmax_cross_entropy(logits, targets)
        self.backward(dlogits)
        return loss, final

    # --- Training

    def fit(
        self,
        text: str,
        valid: str | None = None,
        *,
        holdout: float = 0.1,
        minutes: float | None = None,
        steps: int | None = None,
        batch: int = 32,
        window: int = 64,
        lr: float = 6e-3,
        weight_decay: float = 0.0,
        clip: float = 1.0,
        valid_every: int = 250,
        patience: int | None = None,
        model: str | os.PathLike[str] | None = None,
        history: str | os.PathLike[str] | None = None,
        resume: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> Outcome:
        """Train by truncated BPTT with AdamW, the state carried over from window to window.

        text: what is trained on. valid: held-out text; None takes the last `holdout` of text (0: none), of
        words as many whole ones.
        minutes, steps: how long, one of them; `training.Budget` says which learning rate follows.
        batch, window: N rows of T tokens a step. lr: the highest learning rate. weight_decay: AdamW's,
        each step multiplies the weights by 1 - lr weight_decay, default 0. clip: the largest norm of the
        gradients, infinity for any. valid_every: steps between validations, with `steps` (with `minutes`
        there are 15).
        patience: end after so many validations without a new best; a resumed run keeps its own.
        model: a file that is written at each validation, with a checkpoint beside it; None for neither.
        history: a CSV of the losses. resume: go on from the checkpoint, with the same data and options.
        In the end the model has the weights of the best validation.
        Returns Outcome(progress, reason). Raises TypeError and ValueError for arguments of a wrong type or
        range, ValueError also for texts that are too short, for a checkpoint of another run and when training
        diverges, OSError when a file cannot be written. Warns as `training.Trainer.run` does.
        """
        if (minutes is None) == (steps is None):
            raise ValueError(f"one of minutes and steps must be given, got {minutes} and {steps}")
        trainer = language_training.prepare(
            self,
            *language_training.split(text, valid, holdout, self.vocabulary.unit),
            batch=batch,
            window=window,
            options=RunOptions(
                budget=Budget(steps, minutes),
                lr=lr,
                weight_decay=weight_decay,
                clip=clip,
                valid_every=valid_every,
                patience=patience,
                model=model,
                history=history,
                resume=resume,
                callbacks=callbacks,
            ),
        )
        return trainer.run()

    # --- Evaluation and sampling

    def evaluate(self, text: str) -> Evaluation:
        """Read a text as one stream, the state carried from its first character to its last.

        text: not empty. `<BOS>` is read before it, so that its first token is predicted too.
        Returns an Evaluation. Raises TypeError when text is no str, ValueError when it has no token.
        """
        return language_use.evaluate(self, text)

    def surprisal(self, text: str) -> Array:
        """Return the loss of each token of a text, -log p(token | all before it) in nats, [tokens].

        text: read as by `evaluate`, whose loss is their mean. Raises as `evaluate`.
        """
        return language_use.surprisal(self, text)

    def sample(
        self,
        prompt: str | Sequence[str] = "",
        *,
        length: int = 200,
        count: int = 1,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        allow_unknown: bool = False,
        seed: int | None = None,
    ) -> list[str]:
        """Draw texts that go on from a prompt; the loop over tokens runs natively.

        prompt: what every text begins with, or one prompt for each text; characters (words) that the
        vocabulary does not have are read as `<UNK>`, with a warning. length: the most tokens to draw.
        count: how many texts, for one prompt. temperature: 0 is greedy. top_k, top_p: see SamplingOptions.
        allow_unknown: whether `<UNK>` may be drawn; else it is drawn again. seed: 0 to 2**64 - 1; None takes
        one from the model's generator.
        `<PAD>` and `<BOS>` are never drawn. A text of words begins where a line does, and `<EOS>`, the end of
        a line, ends it; in one of characters, which have line feeds, `<EOS>` is never drawn either.
        Returns the texts, without their prompts. Raises TypeError and ValueError for a wrong type or range.
        """
        count = validation.integer("count", count, 1)
        length = validation.integer("length", length, 0, validation.MAX_STEPS)
        options = SamplingOptions(temperature, top_k, top_p)
        allow_unknown = validation.flag("allow_unknown", allow_unknown)
        if isinstance(prompt, str):
            prompts = [prompt] * count
        else:
            prompts = list(validation.listed("prompt", prompt, str, "a str or a list of them"))
            if count != 1:
                raise ValueError(f"count must be 1 with a prompt for each text, got {count}")
        if seed is None:
            seed = int(self.rng.integers(validation.MAX_SEED, dtype=np.uint64, endpoint=True))
        return language_use.sample(self, prompts, length, options, allow_unknown, validation.seed(seed))

    # --- Files

    def to_onnx(self, *, state: bool = True) -> ModelProto:
        """Write the model, as it computes in eval mode, as an ONNX model; `onnx.save` writes that to a file.

        state: whether it has the inputs h0 and for the LSTM c0, [L, N, H]; else it starts from zero.
        The model has the input ids [T, N], int64, and the outputs logits [T, N, V], h and for the LSTM c; T
        and N are free. The vocabulary is not in it.
        Returns an onnx.ModelProto. Raises TypeError when state is no bool, ModuleNotFoundError without the
        extra onnx.
        """
        from pyrnnfast.onnx import export

        return export.language_model(self.embedding, self.recurrent, self.decoder, state=state)
