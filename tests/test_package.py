"""Settings, the choice of backend, what an import loads, and the command without its extra."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ENVIRONMENT, python, refuses, require

import pyrnnfast
from pyrnnfast import functional

ROOT = Path(__file__).parents[1]


def test_threads_are_set_and_checked() -> None:
    before = pyrnnfast.get_num_threads()
    assert before >= 1
    try:
        pyrnnfast.set_num_threads(2)
        assert pyrnnfast.get_num_threads() == 2
        for bad, error in [
            (0, ValueError),
            (-1, ValueError),
            (10**9, ValueError),
            (1.5, TypeError),
            (True, TypeError),
        ]:
            refuses(error, lambda bad=bad: pyrnnfast.set_num_threads(bad))
        assert pyrnnfast.get_num_threads() == 2
    finally:
        pyrnnfast.set_num_threads(before)


def test_the_asked_instruction_set_runs(isa: str) -> None:
    weights = [np.ones((3, 2), np.float32), np.ones((3, 3), np.float32)]
    assert functional.pack("rnn_tanh", weights, bias=False, isa=isa).isa == isa


def test_the_default_instruction_set_is_available() -> None:
    assert pyrnnfast.isa() in pyrnnfast.available_isas()


def test_show_config_prints_what_it_returns(capsys: pytest.CaptureFixture[str]) -> None:
    config = pyrnnfast.show_config()
    assert {"version", "isa", "threads"} <= config.keys()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(config)
    for line, (name, value) in zip(lines, config.items(), strict=True):
        assert line.split(None, 1) == [name, value]


def test_the_reference_can_be_chosen() -> None:
    result = python("import pyrnnfast; print(pyrnnfast.isa())", PYRNNFAST_BACKEND="reference")
    assert result.stdout == "reference\n", result.stderr


def test_an_unknown_backend_is_an_error() -> None:
    result = python("import pyrnnfast; pyrnnfast.isa()", PYRNNFAST_BACKEND="fpga")
    assert result.returncode != 0
    assert "ValueError: PYRNNFAST_BACKEND must be one of core, reference, got 'fpga'" in result.stderr


def test_an_unknown_instruction_set_is_an_error_at_import() -> None:
    if pyrnnfast.isa() == "reference":
        pytest.skip("the reference has no instruction sets")
    result = python("import pyrnnfast", PYRNNFAST_ISA="v9")
    expected = f"instruction set 'v9' is not available here, expected one of: {pyrnnfast.available_isas()[0]}"
    assert result.stderr.splitlines()[-1].startswith(f"ValueError: PYRNNFAST_ISA: {expected}")
    ignored = python("import pyrnnfast", PYRNNFAST_ISA="v9", PYRNNFAST_BACKEND="reference")
    assert ignored.returncode == 0, ignored.stderr


@pytest.mark.parametrize("variable", ["PYRNNFAST_BACKEND", "PYRNNFAST_ISA"])
@pytest.mark.parametrize("script", [True, False])
def test_the_command_tells_a_bad_environment_in_one_line(variable: str, script: bool, tmp_path: Path) -> None:
    for package in ("typer", "rich"):
        require(package)
    if variable == "PYRNNFAST_ISA" and pyrnnfast.isa() == "reference":
        pytest.skip("the reference has no instruction sets")
    program = tmp_path / "pyrnnfast"
    program.write_text("from pyrnnfast.__main__ import main; main()", encoding="utf-8")
    command = [sys.executable, *([str(program)] if script else ["-m", "pyrnnfast"]), "info"]
    environment = {**ENVIRONMENT, variable: "v9"}
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"pyrnnfast: {variable}")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "name, backend, code",
    [
        ("_core", "core", "import pyrnnfast"),
        ("text._loops", "reference", "import pyrnnfast; pyrnnfast.text"),
    ],
)
def test_a_compiled_module_that_is_not_there_is_told(name: str, backend: str, code: str) -> None:
    """As in a checkout, where Python finds the sources before the installed package."""
    home = Path(pyrnnfast.__file__).parent
    hidden = f"import sys; sys.modules['pyrnnfast.{name}'] = None; "
    result = python(hidden + code, PYRNNFAST_BACKEND=backend)
    assert result.stderr.splitlines()[-1] == (
        f"ImportError: pyrnnfast.{name} is not built in {home}: start Python outside of that checkout to get "
        "an installed pyrnnfast, or build it there (pip install -e .)"
    )


def test_import_loads_numpy_only() -> None:
    code = "import sys, numpy; before = set(sys.modules); import pyrnnfast; print(*set(sys.modules) - before)"
    result = python(code)
    loaded = {name.partition(".")[0] for name in result.stdout.split()} - set(sys.stdlib_module_names)
    assert loaded - {"numpy"} == {"pyrnnfast"}, result.stderr


def test_submodules_are_imported_when_used() -> None:
    code = "import sys, pyrnnfast; assert 'pyrnnfast.text' not in sys.modules; print(pyrnnfast.text.__name__)"
    assert python(code).stdout == "pyrnnfast.text\n"
    assert "functional" in dir(pyrnnfast)
    for name in dir(pyrnnfast):
        assert hasattr(pyrnnfast, name), name
    for extra in ("onnx", "torch"):
        code = (
            f"import sys; sys.modules[{extra!r}] = None; import pyrnnfast; print({extra!r} in dir(pyrnnfast))"
        )
        assert python(code).stdout == "False\n"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = pyrnnfast.nonsense


def test_every_public_name_is_there() -> None:
    for name in pyrnnfast.__all__:
        assert getattr(pyrnnfast, name) is not None


def test_the_version_is_the_projects() -> None:
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("no source tree")
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert pyrnnfast.__version__ == version[1]


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_the_command_without_its_extra_says_how_to_install_it(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import pyrnnfast.__main__ as m; m.main()"
    result = python(code)
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1
    assert 'pip install "pyrnnfast[cli]"' in result.stderr
