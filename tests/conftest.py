"""What all tests share: the awkward sizes, the instruction sets of this machine, and the peers."""

from __future__ import annotations

import importlib
import inspect
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

import pyrnnfast
from pyrnnfast.layers.training import Training

AWKWARD = (1, 2, 3, 5, 7, 9, 15, 16, 17, 31, 33, 63, 65, 97)
"""Sizes around every width of vector and tile."""

# Whoever starts the tests in the background may have told them to ignore Ctrl-C, which some of them test.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Keras would take TensorFlow.
os.environ.setdefault("KERAS_BACKEND", "torch")

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
"""In which a fresh interpreter, outside of the checkout, finds the package that is tested here."""

settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", params=pyrnnfast.available_isas())
def isa(request: pytest.FixtureRequest) -> str:
    """Every instruction set that runs here."""
    return str(request.param)


def require(name: str) -> ModuleType:
    """Import a peer (torch, onnxruntime, ...); the test is skipped without it, or fails if
    PYRNNFAST_REQUIRE_PEERS=1."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if os.environ.get("PYRNNFAST_REQUIRE_PEERS") == "1":
            pytest.fail(f"PYRNNFAST_REQUIRE_PEERS=1, and {name} is not there: {error}")
        pytest.skip(f"{name} is not installed", allow_module_level=True)


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, where the folder that it starts in is not the checkout."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tempfile.gettempdir(),
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def arguments_of(kind: type) -> list[str]:
    """The names of the arguments of a recurrent layer's constructor, in order."""
    found: list[str] = []
    for name, parameter in inspect.signature(kind).parameters.items():
        found += Training.__annotations__ if parameter.kind is parameter.VAR_KEYWORD else [name]
    return found


def refuses(error: type[Exception], call: Callable[[], object]) -> None:
    """The call raises `error`, in one line that says what must be and what was got."""
    with pytest.raises(error, match=r"must .*got ") as info:
        call()
    assert type(info.value) is error
    assert "\n" not in str(info.value)
