"""Hold the house rules that no linter knows: sizes of modules and functions, and parameters."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import names

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "pipeline").rglob("*.py"))
MAX_FUNCTION_LINES = 60
MAX_MODULE_LINES = 400
ALL_KEYS = ROOT / "pipeline/config/schema.py"  # every key with its meaning, on one page
MAX_PARAMETERS = 5
# Callbacks whose signatures transformers prescribes.
PRESCRIBED = {"on_train_begin", "on_train_end", "on_step_begin", "on_epoch_begin", "on_log"}


def functions(module: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_fit_a_reader(module: Path) -> None:
    lines_of_module = len(module.read_text(encoding="utf-8").splitlines())
    assert lines_of_module <= MAX_MODULE_LINES or module == ALL_KEYS
    for function in functions(module):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        assert lines <= MAX_FUNCTION_LINES, f"{function.name} has {lines} lines"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_train_of_parameters_is_a_dataclass(module: Path) -> None:
    for function in functions(module):
        arguments = function.args
        parameters = [
            argument.arg
            for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
            if argument.arg not in ("self", "cls")
        ]
        if function.name not in PRESCRIBED:
            assert len(parameters) <= MAX_PARAMETERS, f"{function.name}: {', '.join(parameters)}"


def spelt_names() -> dict[str, str]:
    """The names of files and tags in pipeline.names, which no other module may spell again."""
    return {
        value: key
        for key, value in vars(names).items()
        if isinstance(value, str) and key.endswith(("_TABLE", "_TAG", "_FILE", "_PAGE", "_CHART"))
    }


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_tags_are_spelt_in_names_alone(module: Path) -> None:
    if module.name == "names.py":
        return
    spelt = spelt_names()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        # Names without a dot or underscore are words that stand for other things as well.
        if (
            isinstance(node, ast.Constant)
            and node.value in spelt
            and re.search(r"[._]", node.value)
        ):
            raise AssertionError(f"line {node.lineno}: {node.value!r} is names.{spelt[node.value]}")


def test_variants_are_spelt_in_names_alone() -> None:
    variants = (*names.FP32_FORMATS, *names.INT8_FORMATS)
    again = [
        f"{module.relative_to(ROOT)}:{node.lineno}"
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in variants and module.name != "names.py"
    ]
    assert again == []
