"""The house rules: versions, types, stubs, what import loads, sizes of files, direction of imports, docs."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import python, require

import pyrnnfast

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pyrnnfast"
LONGEST_FILE = 350


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- Versions


def test_versions_agree() -> None:
    declared = re.search(r'^version = "(.+)"$', read("pyproject.toml"), re.M)
    newest = re.search(r"^## \[(.+)\]", read("CHANGELOG.md"), re.M)
    assert declared is not None
    assert newest is not None
    assert declared[1] == newest[1] == pyrnnfast.__version__


# --- Types and stubs


@pytest.mark.timeout(300)
def test_mypy_is_content() -> None:
    require("mypy")
    result = subprocess.run(
        [sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


RECEIVERS = ("self", "cls")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def signature(function: object) -> list[str] | None:
    """Return the parameters' names of a compiled function; None when it does not tell.

    By introspection, or from what pybind11 puts into the docstring: `name(first: type, second: type = 0)`.
    """
    try:
        names = list(inspect.signature(function).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        line = (getattr(function, "__doc__", None) or "").partition("\n")[0]
        if not re.fullmatch(r"\w+\(.*\)( -> .*)?", line):
            return None
        stub = ast.parse(f"def {re.sub(r'<[^>]*>', '...', line)}: ...").body[0]
        assert isinstance(stub, ast.FunctionDef)
        names = parameters(stub)
    return None if names == ["args", "kwargs"] else [name for name in names if name not in RECEIVERS]


def parameters(node: ast.FunctionDef) -> list[str]:
    every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    return [argument.arg for argument in every if argument.arg not in RECEIVERS]


def declarations(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def differences(owner: object, body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Compare a module or class with its stub: the names both ways, and the functions' parameters."""
    stubs = declarations(body)
    for name, node in stubs.items():
        value = getattr(owner, name, None)
        if value is None:
            yield f"{prefix}{name} is in the stub only"
        elif isinstance(node, ast.ClassDef):
            yield from differences(value, node.body, f"{prefix}{name}.")
        elif isinstance(node, ast.FunctionDef) and callable(value):
            found = signature(value)
            if found is not None and found != parameters(node):
                yield f"{prefix}{name} takes {found}, the stub says {parameters(node)}"
    home = owner.__name__ if inspect.ismodule(owner) else getattr(owner, "__module__", None)
    for name, value in vars(owner).items():
        own = getattr(value, "__module__", home) in (home, None)
        if not name.startswith("_") and not inspect.ismodule(value) and own and name not in stubs:
            yield f"{prefix}{name} is missing from the stub"


STUBS = sorted(path for path in PACKAGE.rglob("*.pyi") if not path.with_suffix(".py").exists())


@pytest.mark.parametrize("path", STUBS, ids=module_name)
def test_stub_has_the_names_and_parameters_of_its_module(path: Path) -> None:
    if importlib.util.find_spec(module_name(path)) is None:
        assert os.environ.get("PYRNNFAST_BACKEND") == "reference", f"{module_name(path)} is not built"
        pytest.skip(f"{module_name(path)} is not built")
    module = importlib.import_module(module_name(path))
    assert list(differences(module, ast.parse(path.read_text(encoding="utf-8")).body)) == []


def test_a_stub_that_lies_is_noticed() -> None:
    stub = "def dumps(thing: object) -> str: ...\ndef melt() -> None: ..."
    found = list(differences(json, ast.parse(stub).body))
    assert any("dumps takes" in line for line in found)
    assert "melt is in the stub only" in found
    assert "loads is missing from the stub" in found


# --- What import loads

HEAVY = {
    "benchmark",
    "cli",
    "diagnostics",
    "keras",
    "models",
    "onnx",
    "sampling",
    "text",
    "torch",
    "training",
}


def test_import_loads_no_heavy_part() -> None:
    code = (
        "import json, sys, numpy; before = set(sys.modules); import pyrnnfast; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    loaded = json.loads(python(code).stdout)
    assert "pyrnnfast" in loaded
    assert [name for name in loaded if name.removeprefix("pyrnnfast.").partition(".")[0] in HEAVY] == []


# --- Source files


def sources(*folders: str) -> list[Path]:
    suffixes = {".py", ".pyi", ".pyx", ".cpp", ".hpp"}
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*")))
    generated = {path.with_suffix(".cpp") for path in PACKAGE.rglob("*.pyx")}
    return [path for path in found if path.suffix in suffixes and path not in generated]


def test_no_file_has_outgrown_one_idea() -> None:
    counts = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources("pyrnnfast", "csrc", "tests", "bench", "examples")
    }
    assert {name: count for name, count in counts.items() if count > LONGEST_FILE} == {}


ORDER = (
    {"_columns", "_figure", "_names", "_types"},
    {"_sizes"},
    {"_core", "reference"},
    {"_backend"},
    {"validation"},
    {"outputs"},
    {"cell_options"},
    {"runtime"},
    {"functional"},
    {"layers"},
    {"clipping", "losses", "optim", "text"},
    {"sampling"},
    {"keras", "onnx", "training"},
    {"models", "torch"},
    {"benchmark", "diagnostics"},
    {"cli"},
    {"__main__"},
)
"""The parts of the package from the lowest to the highest: each imports only what stands below it."""
RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts}


def imported_parts(path: Path) -> Iterator[str]:
    """Name the parts of the package (`layers`, `_backend`, ...) that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "pyrnnfast":
            names = [f"pyrnnfast.{alias.name}" for alias in node.names if is_part(alias.name)]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [node.module or ""]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("pyrnnfast."))


def is_part(name: str) -> bool:
    """Whether `from pyrnnfast import name` means a module, not a value that `pyrnnfast/__init__.py` has."""
    return name in RANK or (PACKAGE / name).is_dir() or any(PACKAGE.glob(f"{name}.*"))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=module_name)
def test_imports_point_downwards(path: Path) -> None:
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own == "__init__":
        return
    assert own in RANK, f"give {own} its place in ORDER"
    upwards = {part for part in imported_parts(path) if part != own and RANK[part] >= RANK[own]}
    assert upwards == set()


# --- The documents


def commands(text: str) -> list[list[str]]:
    """Return the words of each `pyrnnfast COMMAND ...` in the code blocks of a Markdown text."""
    blocks = re.findall(r"^```(?:bash|console|sh)\n(.*?)^```", text, re.M | re.S)
    lines = [line.partition("#")[0] for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    runs = [part.strip() for line in lines for part in re.split(r"&&|;|\|", line)]
    found = (re.fullmatch(r"(?:\w+=\S+\s+)*(?:\S*/)?pyrnnfast\s+([a-z].*)", run) for run in runs)
    return [match[1].split() for match in found if match]


DOCUMENTS = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "bench/README.md", *DOCUMENTS])
def test_documented_commands_exist(document: str) -> None:
    require("typer")
    import typer

    from pyrnnfast.cli.main import app

    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    documented = commands(read(document))
    assert documented or document != "README.md"
    for name, *words in documented:
        assert name in known, f"{document}: pyrnnfast {name}"
        command = known[name]
        if hasattr(command, "commands"):
            assert words[0] in command.commands, f"{document}: pyrnnfast {name} {words[0]}"
            command = command.commands[words[0]]
        options = {option for parameter in command.params for option in parameter.opts}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= options, f"{document}: pyrnnfast {name} {used - options}"


def test_the_map_names_every_source_of_the_compiled_module() -> None:
    house = read("CONTRIBUTING.md").partition("    csrc/\n")[2].partition("    tests/ ")[0]
    named = set(re.findall(r"\w+", house))
    assert {path.stem for path in sources("csrc")} - named == set()


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "bench").glob("*.md")]:
        prose = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", prose):
            if not (document.parent / target).exists():
                broken.append(f"{document.relative_to(ROOT)}: {target}")
    assert broken == []
