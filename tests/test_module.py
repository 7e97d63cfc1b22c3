"""`Module`: parameters, gradients, children, versions, state_dict and its errors."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from pyrnnfast import Module


class Leaf(Module):
    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self._add_parameter("weight", np.arange(size, dtype=np.float32))
        self._add_parameter("bias", np.zeros((), np.float64))

    def extra_repr(self) -> str:
        return f"{self.weight.size}"


class Tree(Module):
    def __init__(self) -> None:
        super().__init__()
        self.left = Leaf(2)
        self.right = Leaf(3)


NAMES = ["left.weight", "left.bias", "right.weight", "right.bias"]


def test_names_and_views() -> None:
    tree = Tree()
    assert list(tree.named_parameters()) == list(tree.grads) == list(tree.state_dict()) == NAMES
    assert tree.num_parameters() == 7
    assert list(tree.modules()) == ["", "left", "right"]
    assert {"weight", "bias"} <= set(dir(tree.left))
    for array in (tree.left.weight, tree.named_parameters()["left.weight"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
    with pytest.raises(AttributeError, match="read-only"):
        tree.left.weight = np.zeros(2)
    with pytest.raises(AttributeError, match="Tree has no attribute 'middle'"):
        _ = tree.middle
    assert not np.shares_memory(tree.state_dict()["left.weight"], tree.left.weight)


def test_the_given_array_is_copied() -> None:
    values = np.ones(3, np.float32)
    module = Module()
    module._add_parameter("weight", values)
    values[:] = 5
    np.testing.assert_array_equal(module.weight, 1)


def test_gradients_are_written_in_place() -> None:
    tree = Tree()
    tree.grads["left.weight"] += 2
    np.testing.assert_array_equal(tree.left.grads["weight"], 2)
    tree.left._add_gradients({"weight": np.ones(2, np.float32)})
    np.testing.assert_array_equal(tree.grads["left.weight"], 3)
    tree.zero_grad()
    assert not tree.grads["left.weight"].any()


def test_update_and_version() -> None:
    tree = Tree()
    versions = [tree.version]
    with tree.update() as parameters:
        assert list(parameters) == NAMES
        parameters["left.weight"] += 1
    versions.append(tree.version)
    with tree.right.update() as parameters:
        parameters["weight"] += 1
    versions.append(tree.version)
    tree.load_state_dict(tree.state_dict())
    versions.append(tree.version)
    tree.left = Leaf(2)
    versions.append(tree.version)
    with pytest.raises(KeyError), tree.update() as parameters:
        parameters["nothing"] += 1
    versions.append(tree.version)
    assert versions == sorted(set(versions))
    unchanged = tree.version
    tree.eval().train().zero_grad()
    assert tree.version == unchanged
    np.testing.assert_array_equal(tree.right.weight, [1, 2, 3])


def test_modes_reach_the_children() -> None:
    tree = Tree()
    assert tree.training
    assert tree.left.training
    assert tree.eval() is tree
    assert not tree.right.training
    assert tree.train().left.training


def test_load_lists_every_problem_and_changes_nothing() -> None:
    tree = Tree()
    state = tree.state_dict()
    before = {name: value.copy() for name, value in state.items()}
    version = tree.version
    state["left.weight"] = np.full(2, 9, np.float32)
    state["right.weight"] = np.zeros((3, 1), np.float32)
    state["right.bias"] = np.zeros((), np.float32)
    state["surplus"] = np.zeros(1)
    del state["left.bias"]
    with pytest.raises(ValueError, match="cannot load") as info:
        tree.load_state_dict(state)
    for part in (
        "missing 'left.bias'",
        "unexpected 'surplus'",
        "'right.weight' must have shape (3,), got (3, 1)",
        "'right.bias' must have dtype float64, got float32",
    ):
        assert part in str(info.value)
    assert tree.version == version
    for name, value in tree.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ([0.0, 1.0], TypeError, "'left.weight' must be an array, got list"),
        (None, TypeError, "must be an array, got None"),
        (np.ma.array(np.zeros(2, "f4"), mask=[0, 1]), TypeError, "must be an array, got MaskedArray"),
        (np.zeros(2, ">f4"), ValueError, "must have dtype float32, got >f4"),
        (np.zeros(2, object), ValueError, "must have dtype float32, got object"),
    ],
)
def test_load_refuses(bad: object, error: type[Exception], message: str) -> None:
    tree = Tree()
    version = tree.version
    with pytest.raises(error, match=message):
        tree.load_state_dict({**tree.state_dict(), "left.weight": bad})
    assert tree.version == version


@pytest.mark.parametrize("state", [None, [("left.weight", np.zeros(2))], np.zeros(3)])
def test_load_wants_a_mapping(state: object) -> None:
    with pytest.raises(TypeError, match="must be a mapping"):
        Tree().load_state_dict(state)


def test_load_copies_any_strides() -> None:
    tree = Tree()
    tree.load_state_dict({**tree.state_dict(), "left.weight": np.array([5, 0, 6], np.float32)[::2]})
    np.testing.assert_array_equal(tree.left.weight, [5, 6])


def test_copies_are_independent() -> None:
    tree = Tree().eval()
    tree.grads["left.weight"][:] = 4
    with pytest.raises(TypeError, match="deepcopy"):
        copy.copy(tree)
    for twin in (copy.deepcopy(tree), pickle.loads(pickle.dumps(tree))):
        assert not twin.training
        np.testing.assert_array_equal(twin.grads["left.weight"], 4)
        with twin.update() as parameters:
            parameters["left.weight"] += 1
        np.testing.assert_array_equal(twin.left.weight, [1, 2])
        np.testing.assert_array_equal(tree.left.weight, [0, 1])


def test_repr() -> None:
    assert repr(Leaf()) == "Leaf(3)"
    assert repr(Tree()) == "Tree(\n  (left): Leaf(2)\n  (right): Leaf(3)\n)"
