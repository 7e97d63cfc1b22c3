"""Files: written whole or not at all, and broken ones told in one sentence."""

from __future__ import annotations

import json
import os
import stat
import struct
from pathlib import Path

import numpy as np
import pytest
from conftest import python
from safetensors.numpy import save as pack

from pyrnnfast import LSTM
from pyrnnfast.models import LanguageModel, SequenceTagger, TextClassifier
from pyrnnfast.models.model import Model
from pyrnnfast.text import Vocabulary
from pyrnnfast.training import Checkpoint, checkpoint, storage
from pyrnnfast.training.files import check_writable, write_whole


def model() -> LanguageModel:
    return LanguageModel(Vocabulary.from_text("hello world"), hidden=5, embedding=3, layers=2, rng=0)


def refuses(path: Path, words: str) -> None:
    with pytest.raises(ValueError, match=words) as info:
        LanguageModel.load(path)
    assert str(path) in str(info.value)
    assert "\n" not in str(info.value)


# --- Writing


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*/file'$"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    code = (
        "import os, signal, sys; from pyrnnfast.training.files import write_whole\n"
        "os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_whole(sys.argv[1], b'new' * 100000)"
    )
    killed = python(code, str(path))
    assert killed.returncode == -9
    assert path.read_bytes() == b"old"


def test_permissions_and_symbolic_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    write_whole(path, b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    for place in (tmp_path, "/dev/null"):
        with pytest.raises(ValueError, match="must be the name of a file"):
            write_whole(place, b"x")
        with pytest.raises(ValueError, match="must be the name of a file"):
            check_writable(place)
    for write in (check_writable, lambda location: write_whole(location, b"x")):
        with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*/absent/file'$"):
            write(tmp_path / "absent" / "file")
        with pytest.raises(ValueError, match="must be the name of a file, got ''"):
            write("")
    assert os.listdir(tmp_path) == []


# --- Reading back


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.bool_])
def test_arrays_come_back(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {
        "matrix": np.arange(12).reshape(3, 4).astype(dtype).T,
        "scalar": np.array(1, dtype),
        "empty": np.zeros((0, 3), dtype),
        "swapped": np.arange(3).astype(dtype).astype(np.dtype(dtype).newbyteorder(">")),
    }
    storage.save(path, "test", {"é": [1, None]}, tensors)
    found = storage.load(path, "test")
    assert found.description == {"é": [1, None]}
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor)
        assert found.tensors[name].shape == tensor.shape
        assert found.tensors[name].flags.writeable


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_reset_before", "one_gate_gru", "rnn", "rnn_relu"])
def test_models_come_back(tmp_path: Path, cell: str) -> None:
    first = LanguageModel(Vocabulary.from_text("añ語😀"), cell=cell, hidden=4, dropout=0.1, dtype="float64")
    first.save(tmp_path / "m")
    second = LanguageModel.load(tmp_path / "m")
    assert second.configuration == first.configuration
    assert second.vocabulary == first.vocabulary
    for name, value in first.state_dict().items():
        np.testing.assert_array_equal(second.state_dict()[name], value)


WORDS = Vocabulary.from_text("go to rome", unit="word", specials=("<PAD>", "<UNK>"))
MODELS = {
    "language": lambda: LanguageModel(Vocabulary.from_text("ab"), embedding=3, hidden=4),
    "classifier": lambda: TextClassifier(WORDS, ["a", "b"], embedding=3, hidden=4, cell="lstm", layers=1),
    "tagger": lambda: SequenceTagger.from_examples([(["go"], ["O"])] * 2, embedding=3, hidden=4),
}


def replaced(kind: str, **options: object) -> Model:
    """Make a model whose recurrent layer is an LSTM of its own."""
    network = MODELS[kind]()
    inputs, two_way = network.recurrent.input_size, network.recurrent.bidirectional
    network.recurrent = LSTM(inputs, 4, bidirectional=two_way, rng=0, **options)
    return network


@pytest.mark.parametrize("kind", list(MODELS))
@pytest.mark.parametrize(
    "options", [{"zoneout": (0.1, 0.1)}, {"input_dropout": 0.1}, {"bias": False}], ids=str
)
def test_a_replaced_layer_is_not_saved_as_another_one(
    tmp_path: Path, kind: str, options: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r" must .*got "):
        replaced(kind, **options).save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("kind", list(MODELS))
def test_a_replaced_layer_that_the_configuration_tells_is_saved(tmp_path: Path, kind: str) -> None:
    network = replaced(kind, num_layers=2)
    network.save(tmp_path / "m")
    assert type(network).load(tmp_path / "m").configuration["layers"] == 2


def test_a_replaced_layer_is_trained_where_nothing_is_saved() -> None:
    network = replaced("language", zoneout=(0.1, 0.1))
    before = network.state_dict()["recurrent.weight_hh_l0"]
    network.fit("abba" * 20, steps=2, batch=2, window=4, holdout=0)
    assert (network.state_dict()["recurrent.weight_hh_l0"] != before).any()


def test_equal_models_are_equal_files(tmp_path: Path) -> None:
    contents = set()
    for _ in range(5):
        model().save(tmp_path / "m")
        contents.add((tmp_path / "m").read_bytes())
    assert len(contents) == 1
    header = int.from_bytes(contents.pop()[:8], "little")
    assert header % 8 == 0  # so that the tensors are aligned


def test_checkpoints_come_back(tmp_path: Path) -> None:
    rng = np.random.Generator(np.random.MT19937(5))
    parts = {"weights": {"w": np.ones(3)}, "task": {"position": 3, "x": np.zeros(2, np.float32)}}
    written = Checkpoint(
        {"step": 1, "tokens": 2, "seconds": 0.5}, {"a": None}, rng.bit_generator.state, parts
    )
    checkpoint.save(tmp_path / "c", written)
    found = checkpoint.load(tmp_path / "c")
    assert (found.progress, found.recipe) == (written.progress, written.recipe)
    assert found.parts["task"]["position"] == 3
    np.testing.assert_array_equal(found.parts["weights"]["w"], np.ones(3))
    expected, other = rng.random(), np.random.Generator(np.random.MT19937(0))
    checkpoint.set_generator(other, found.generator, "c")
    assert other.random() == expected
    with pytest.raises(ValueError, match="random generator"):
        checkpoint.set_generator(np.random.default_rng(), found.generator, "c")


def test_the_checkpoint_stands_beside() -> None:
    assert checkpoint.path_beside("a/m.safetensors") == Path("a/m.checkpoint.safetensors")
    assert checkpoint.path_beside("m.x") == Path("m.x.checkpoint.safetensors")


# --- Broken files


def test_absent_directory_empty_and_other_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LanguageModel.load(tmp_path / "absent")
    with pytest.raises(IsADirectoryError):
        LanguageModel.load(tmp_path)
    path = tmp_path / "m"
    for content, words in ((b"", "is empty"), (b"text" * 99, "not a safetensors"), (b"\x80\x04N.", "not a")):
        path.write_bytes(content)
        refuses(path, words)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m"
    model().save(path)
    whole = path.read_bytes()
    for size in (*range(1, 20), *range(20, len(whole), 97), len(whole) - 1):
        path.write_bytes(whole[:size])
        refuses(path, "not a safetensors file, or it is truncated")
    path.write_bytes(whole + b"x")
    refuses(path, "not a safetensors file, or it is truncated")


def lie(path: Path, change: dict[str, object], name: str = "decoder.bias") -> None:
    model().save(path)
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header[name].update(change)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [10**12]},
        {"shape": [-1]},
        {"shape": [2**40, 2**40]},
        {"shape": []},
        {"data_offsets": [0, 10**15]},
        {"data_offsets": [8, 4]},
        {"data_offsets": [-8, 4]},
        {"dtype": "F64"},
        {"dtype": "pickle"},
        {"dtype": "BF16"},
    ],
    ids=str,
)
def test_lying_headers_are_noticed(tmp_path: Path, change: dict[str, object]) -> None:
    lie(tmp_path / "m", change)
    refuses(tmp_path / "m", "damaged")


def test_absurd_header_sizes(tmp_path: Path) -> None:
    path = tmp_path / "m"
    for size in (0, 2, 10**9, 2**63, 2**64 - 1):
        path.write_bytes(struct.pack("<Q", size) + b"{}" * 100)
        refuses(path, "not a safetensors")


def save_with(path: Path, **changes: object) -> None:
    """Save a model whose description is changed: a dotted name tells where."""
    whole = model()
    description = {"configuration": whole.configuration, "vocabulary": whole.vocabulary.to_json()}
    for name, value in changes.items():
        if name == "vocabulary":
            description[name] = value
        else:
            description["configuration"][name] = value
    storage.save(path, "language model", description, whole.state_dict())


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": 10**15},
        {"hidden": 2**31 - 1},
        {"hidden": -1},
        {"hidden": 5.0},
        {"hidden": True},
        {"hidden": None},
        {"layers": 10**9},
        {"layers": 1},
        {"embedding": 4},
        {"cell": "gru"},
        {"cell": "transformer"},
        {"cell": ["lstm"]},
        {"dtype": "float64"},
        {"dtype": "object"},
        {"dropout": 7},
        {"dropout": "0"},
        {"extra": 1},
        {"vocabulary": "no JSON"},
        {"vocabulary": 7},
        {"vocabulary": Vocabulary.from_text("abc").to_json()},
        {"vocabulary": Vocabulary(list("abcdefghijkl"), specials=()).to_json()},
    ],
    ids=str,
)
def test_descriptions_that_contradict_the_weights(tmp_path: Path, changes: dict[str, object]) -> None:
    save_with(tmp_path / "m", **changes)
    refuses(tmp_path / "m", "damaged")


def test_missing_and_unexpected_tensors(tmp_path: Path) -> None:
    whole = model()
    description = {"configuration": whole.configuration, "vocabulary": whole.vocabulary.to_json()}
    weights = whole.state_dict()
    for tensors in (
        {**weights, "more": np.ones(1)},
        {k: v for k, v in weights.items() if k != "decoder.bias"},
    ):
        storage.save(tmp_path / "m", "language model", description, tensors)
        refuses(tmp_path / "m", "the tensor .* is (missing|unexpected)")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "not one of pyrnnfast"),
        ({"format_version": "2", "package_version": "9.9"}, "pyrnnfast 9.9"),
        ({"format_version": "one"}, "format_version"),
        ({"format_version": "-1"}, "format_version"),
        ({"kind": "checkpoint"}, "must be a language model, got a 'checkpoint'"),
        ({"description": "{"}, "no JSON"),
        ({"description": "[" * 100000}, "no JSON"),
        ({"description": "[]"}, "no JSON object"),
        ({"description": "{}"}, "configuration is missing"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_absurd_metadata(tmp_path: Path, change: dict[str, str], words: str) -> None:
    metadata = {"format": "pyrnnfast", "format_version": "1", "kind": "language model", "description": "{}"}
    (tmp_path / "m").write_bytes(pack({"x": np.ones(1)}, {**metadata, **change}))
    refuses(tmp_path / "m", words)
    (tmp_path / "m").write_bytes(pack({"x": np.ones(1)}))
    refuses(tmp_path / "m", "not one of pyrnnfast")
