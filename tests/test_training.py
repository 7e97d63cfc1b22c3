"""Training: resuming to the bit, best weights, early stop, time, interruption."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pyrnnfast import training
from pyrnnfast.models import LanguageModel
from pyrnnfast.models.language_training import StreamTask
from pyrnnfast.text import Vocabulary
from pyrnnfast.training import Callback, Checkpoint, Progress, checkpoint
from pyrnnfast.training.interrupt import StopFlag, stop_on_signals

TEXT = "".join(f"{n} times {n} is {n * n}; " for n in range(120))
RUN = {"batch": 4, "window": 8, "valid_every": 5}


def model(**options: object) -> LanguageModel:
    return LanguageModel(Vocabulary.from_text(TEXT), **{"embedding": 3, "hidden": 6, "rng": 0, **options})


def losses(location: Path) -> list[tuple[int, float, float | None]]:
    return [(row.step, row.loss, row.valid_loss) for row in training.read_csv(location)]


class After(Callback):
    """Does something after a step."""

    def __init__(self, step: int, action: object) -> None:
        self.step, self.action = step, action

    def on_step(self, progress: Progress) -> None:
        if progress.step == self.step:
            self.action()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


# --- Going on


@pytest.mark.parametrize(
    "options", [{}, {"cell": "gru", "layers": 2, "dropout": 0.3}, {"cell": "rnn", "recurrent_dropout": 0.3}]
)
@pytest.mark.parametrize("stop_at", [1, 5, 13])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path, options: dict, stop_at: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    first = model(**options)
    first.fit(TEXT, steps=90, model=whole, history=tmp_path / "whole.csv", **RUN)

    files = {"model": parts, "history": tmp_path / "parts.csv"}
    outcome = model(**options).fit(TEXT, steps=90, callbacks=[After(stop_at, interrupt)], **files, **RUN)
    assert (outcome.reason, outcome.progress.step) == ("stopped", stop_at)
    LanguageModel.load(parts)
    model(**options).fit(TEXT, steps=40, resume=True, **files, **RUN)  # a shorter run, then prolonged
    second = model(**options)
    outcome = second.fit(TEXT, steps=90, resume=True, **files, **RUN)
    assert outcome.reason == "done"

    assert losses(tmp_path / "parts.csv") == losses(tmp_path / "whole.csv")
    assert len(losses(tmp_path / "whole.csv")) == 90
    for name, value in first.state_dict().items():
        np.testing.assert_array_equal(second.state_dict()[name], value)


def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    class KilledError(BaseException):
        pass

    def kill() -> None:
        raise KilledError

    model().fit(TEXT, steps=20, model=tmp_path / "whole", history=tmp_path / "whole.csv", **RUN)
    files = {"model": tmp_path / "parts", "history": tmp_path / "parts.csv"}
    with pytest.raises(KilledError):
        model().fit(TEXT, steps=20, callbacks=[After(13, kill)], **files, **RUN)
    with open(tmp_path / "parts.csv", "a", encoding="utf-8") as file:
        file.write("11,1,1.0,0.1,0.1,9.0,\n12,1,1.0")  # rows after the checkpoint, the last one cut
    model().fit(TEXT, steps=20, resume=True, **files, **RUN)
    assert losses(tmp_path / "parts.csv") == losses(tmp_path / "whole.csv")


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    model().fit(TEXT, steps=6, model=path, **RUN)
    for change in (
        {"batch": 3},
        {"window": 4},
        {"lr": 1e-3},
        {"weight_decay": 1},
        {"valid": "1 times"},
        {"text": TEXT + "!"},
    ):
        options = {"text": TEXT, "steps": 9, **RUN, **change}
        with pytest.raises(ValueError, match="another recipe: "):
            model().fit(**options, model=path, resume=True)
    with pytest.raises(ValueError, match="another recipe: by was 'steps'"):
        model().fit(TEXT, minutes=1, model=path, resume=True, **RUN)
    with pytest.raises(ValueError, match="another recipe: hidden"):
        model(hidden=5).fit(TEXT, steps=9, model=path, resume=True, **RUN)
    with pytest.raises(ValueError, match="has had 6 steps"):
        model().fit(TEXT, steps=6, model=path, resume=True, **RUN)
    with pytest.raises(ValueError, match="needs the model's file"):
        model().fit(TEXT, steps=6, resume=True, **RUN)
    with pytest.raises(FileNotFoundError):
        model().fit(TEXT, steps=6, model=tmp_path / "absent", resume=True, **RUN)


@pytest.mark.parametrize(
    "part", ["weights", "optimizer", "task", "step", "best_loss", "best_step", "waiting", "generator"]
)
def test_damaged_checkpoints_are_refused(tmp_path: Path, part: str) -> None:
    path = tmp_path / "m"
    model().fit(TEXT, steps=6, model=path, **RUN)
    beside = checkpoint.path_beside(path)
    found = checkpoint.load(beside)
    if part in found.progress:
        found.progress[part] = "six"
    elif part == "generator":
        found.generator = {"state": 1}
    else:
        found.parts[part] = {"other": 1}
    checkpoint.save(beside, found)
    with pytest.raises(ValueError, match=f"^{beside}: is damaged: "):
        model().fit(TEXT, steps=9, model=path, resume=True, **RUN)
    if part in found.progress:
        del found.progress[part]
        checkpoint.save(beside, found)
        with pytest.raises(ValueError, match=f"^{beside}: is damaged: .*{part}"):
            model().fit(TEXT, steps=9, model=path, resume=True, **RUN)


@pytest.mark.parametrize(("name", "value"), [("step", -5), ("tokens", None), ("seconds", "x")])
def test_a_checkpoint_of_impossible_progress_is_refused(tmp_path: Path, name: str, value: object) -> None:
    beside = tmp_path / "c"
    checkpoint.save(beside, Checkpoint({"step": 1, "tokens": 2, "seconds": 0.5, name: value}, {}, None, {}))
    with pytest.raises(ValueError, match=f"c: is damaged: {name} is {value!r}"):
        checkpoint.load(beside)


# --- The carried state


def test_rows_go_on_where_the_row_below_began() -> None:
    network = model(dtype=np.float64).eval()
    ids = network.vocabulary.encode(TEXT[:48], bos=True)
    task = StreamTask(network.train(), ids, None, 3, 4, None)
    for _ in range(4):
        task.step()
    task.step()  # the first window once more, with the state of the whole stream before it
    h, c = (task.state_dict()[f"state{i}"] for i in range(2))
    network.eval()
    for row in range(3):
        before = network.embedding(ids[max(0, row - 1) * 16 : row * 16 + 4][:, None])
        _, state = network.recurrent(before)
        if row < 2:  # row 2 has read row 0 before row 1
            np.testing.assert_allclose(h[:, row], state[0][:, 0], rtol=1e-10)
            np.testing.assert_allclose(c[:, row], state[1][:, 0], rtol=1e-10)


# --- The end of a run


def test_the_best_weights_stay() -> None:
    network = model(hidden=12)
    valid = "the quick brown fox"  # which gets worse while the training text is learnt
    seen: list[float] = []

    class Watch(Callback):
        def on_validation(self, progress: Progress) -> None:
            seen.append(progress.valid_loss)

    outcome = network.fit(TEXT, valid, steps=400, lr=0.05, patience=3, callbacks=[Watch()], **RUN)
    assert outcome.reason == "early stop"
    assert outcome.progress.best_loss == min(seen)
    assert seen[-3:] == [loss for loss in seen[-3:] if loss > min(seen)]
    assert network.evaluate(valid).loss == pytest.approx(min(seen), rel=1e-5)


def test_without_held_out_text_the_last_weights_stay(tmp_path: Path) -> None:
    network = model()
    outcome = network.fit(TEXT, holdout=0, steps=12, model=tmp_path / "m", **RUN)
    assert outcome.progress.best_loss is None
    saved = LanguageModel.load(tmp_path / "m").state_dict()
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(saved[name], value)


def test_minutes_bound_the_wall_time() -> None:
    began = time.monotonic()
    rates: list[float] = []

    class Watch(Callback):
        def on_step(self, progress: Progress) -> None:
            rates.append(progress.learning_rate)

    outcome = model().fit(TEXT, minutes=1 / 60, callbacks=[Watch()], **RUN)
    assert 0.8 < time.monotonic() - began < 3
    assert outcome.reason == "done"
    assert outcome.progress.valid_loss is not None
    assert max(rates) > 5e-3 > 1e-3 > rates[-1]
    assert rates[30:] == sorted(rates[30:], reverse=True)


def test_a_second_interruption_insists() -> None:
    def twice() -> None:
        interrupt()
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        model().fit(TEXT, steps=90, callbacks=[After(3, twice)], **RUN)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signals_only_matter_in_the_main_thread() -> None:
    flag = StopFlag()
    handlers: list[object] = []

    def run() -> None:
        with stop_on_signals(flag):
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (ValueError, {"steps": 0}),
        (ValueError, {"steps": 5, "minutes": 1.0}),
        (ValueError, {}),
        (ValueError, {"minutes": 0.0}),
        (ValueError, {"minutes": math.nan}),
        (ValueError, {"steps": 5, "lr": 0.0}),
        (ValueError, {"steps": 5, "weight_decay": -0.1}),
        (ValueError, {"steps": 5, "weight_decay": 1000, "lr": 1e-3}),
        (ValueError, {"steps": 5, "weight_decay": math.inf}),
        (ValueError, {"steps": 5, "batch": 0}),
        (ValueError, {"steps": 5, "window": 0}),
        (ValueError, {"steps": 5, "window": 10**6}),
        (ValueError, {"steps": 5, "holdout": 1.0}),
        (ValueError, {"steps": 5, "valid_every": 0}),
        (ValueError, {"steps": 5, "patience": 0}),
        (ValueError, {"steps": 5, "valid": ""}),
        (ValueError, {"steps": 5, "clip": 0.0}),
        (ValueError, {"steps": 5, "clip": math.nan}),
        (ValueError, {"steps": 5, "model": ""}),
        (TypeError, {"steps": 5, "valid": 3}),
        (TypeError, {"steps": 5.0}),
        (TypeError, {"steps": 5, "weight_decay": None}),
        (TypeError, {"steps": 5, "clip": "a"}),
        (TypeError, {"steps": 5, "callbacks": [3]}),
        (TypeError, {"steps": 5, "callbacks": Callback()}),
        (TypeError, {"steps": 5, "model": 3}),
        (TypeError, {"steps": 5, "history": 3}),
        (TypeError, {"steps": 5, "resume": "yes"}),
    ],
    ids=lambda value: str(value).split(" at 0x")[0],  # addresses differ from run to run
)
def test_bad_options(error: type[Exception], options: dict[str, object]) -> None:
    network = model()
    with pytest.raises(error, match=r" must .*got |too short"):
        network.fit(TEXT, **options)
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value, model().state_dict()[name])


def test_history_is_a_file_of_its_own(tmp_path: Path) -> None:
    for name in ("m", "m.checkpoint.safetensors", "./m"):
        with pytest.raises(ValueError, match=r"another file than the model and its checkpoint, got "):
            model().fit(TEXT, steps=5, model=tmp_path / "m", history=f"{tmp_path}/{name}", **RUN)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model", "history"])
def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path: Path, name: str) -> None:
    steps: list[Progress] = []
    watch = Callback()
    watch.on_step = steps.append  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No such file"):
        model().fit(TEXT, steps=5, callbacks=[watch], **{name: tmp_path / "absent" / "file"}, **RUN)
    assert not steps


def test_a_first_save_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(LanguageModel, "save", save)
    with pytest.raises(OSError, match="full"):
        model().fit(TEXT, steps=5, model=tmp_path / "m", history=tmp_path / "m.csv", **RUN)
    assert list(tmp_path.iterdir()) == []


def test_any_norm_of_gradients_may_be_allowed(tmp_path: Path) -> None:
    for steps, resume in ((3, False), (5, True)):
        model().fit(TEXT, steps=steps, clip=math.inf, model=tmp_path / "m", resume=resume, **RUN)


def test_weight_decay_takes_a_part_of_the_learning_rate_from_each_weight() -> None:
    before, plain, decayed = model(), model(), model()
    plain.fit(TEXT, steps=1, lr=0.2, **RUN)
    decayed.fit(TEXT, steps=1, lr=0.2, weight_decay=3.0, **RUN)
    for name, value in plain.state_dict().items():
        lost = 0.2 / 20 * 3.0 * before.state_dict()[name]  # the first of 20 steps in which the rate rises
        np.testing.assert_allclose(decayed.state_dict()[name], value - lost, rtol=0, atol=1e-6)
