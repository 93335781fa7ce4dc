"""Who may import whom, read from the source: one direction of flow, and nothing heavy before it is needed."""

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import maskgrpo_cli

PACKAGE = Path(maskgrpo_cli.__file__).parent
SHARED = {"cancelling", "errors", "types", "noise", "registry"}
STAGES = {"tasks", "modalities", "models", "samplers", "estimators", "rewards", "sandbox", "server"}
COMMAND_LINE = {"cli", "cli_data", "cli_group", "cli_harness", "cli_keys", "cli_options", "cli_recipes",
                "cli_reward_server", "cli_sample", "cli_tokenizer", "cli_training"}
HEAVY = {"torch", "transformers", "pydantic", "numpy", "peft", "accelerate", "datasets", "rich", "yaml",
         "fastapi", "starlette", "uvicorn"}


@dataclass(frozen=True)
class Import:
    module: str  # dotted, as imported
    at_start: bool  # run when the module is imported

    @property
    def part(self) -> str | None:
        """The part of the package it names (`tasks`), "" for the package itself, None for others."""
        names = self.module.split(".")
        if names[0] != "maskgrpo_cli":
            return None
        return names[1] if len(names) > 1 else ""


def imports_of(source: str, package: str) -> set[Import]:
    found = set()

    def visit(node, at_start: bool):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.update(Import(alias.name, at_start) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    parents = package.split(".")
                    base = ".".join(parents[: len(parents) - child.level + 1] + ([base] if base else []))
                for alias in child.names:  # `from maskgrpo_cli import registry` names a part, as `a.b` would
                    name = f"{base}.{alias.name}" if base == "maskgrpo_cli" and alias.name[0] != "_" else base
                    found.add(Import(name, at_start))
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                visit(child, False)
            else:
                lazy = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                visit(child, at_start and not lazy)

    visit(ast.parse(source), True)
    return found


def modules() -> dict[str, Path]:
    """Dotted name under the package -> file."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def parts_of(name: str) -> set[str]:
    package = ".".join(["maskgrpo_cli", *name.split(".")[:-1]])
    found = imports_of(modules()[name].read_text(), package)
    return {item.part for item in found if item.part is not None}


def heads_of(name: str) -> set[Import]:
    return imports_of(modules()[name].read_text(), "maskgrpo_cli")


def in_part(*parts: str) -> list[str]:
    return [name for name in modules() if name.split(".")[0] in parts]


def test_the_reader_sees_every_kind_of_import():
    source = """
import torch.nn as nn
from maskgrpo_cli import registry, __version__
from ..tasks import gsm8k
from . import block
if TYPE_CHECKING:
    from maskgrpo_cli.types import Task
def f():
    import transformers
"""
    found = imports_of(source, "maskgrpo_cli.samplers")
    assert Import("torch.nn", True) in found and Import("transformers", False) in found
    assert {item.part for item in found if item.part is not None} == {
        "registry",
        "",
        "tasks",
        "samplers",
        "types",
    }
    assert Import("maskgrpo_cli.types", False) in found


@pytest.mark.parametrize("name", in_part(*SHARED))
def test_rule_1_shared_modules_import_nothing_of_the_project(name):
    assert parts_of(name) <= SHARED


@pytest.mark.parametrize("name", in_part(*STAGES))
def test_rule_2_a_stage_never_imports_a_sibling(name):
    own = name.split(".")[0]
    assert parts_of(name) <= SHARED - {"registry"} | {"domains", own, ""}


@pytest.mark.parametrize("name", in_part("domains"))
def test_rule_2_domains_are_pure_knowledge(name):
    assert parts_of(name) <= {"errors", "types", "domains"}
    assert not {item.module.split(".")[0] for item in heads_of(name)} & {"torch", "transformers"}


def test_rule_3_the_objective_knows_torch_and_the_shared_types_only():
    for name in in_part("objective"):
        outside = {item.module.split(".")[0] for item in heads_of(name) if item.part is None}
        assert parts_of(name) <= SHARED - {"registry"}
        assert outside - set(sys.stdlib_module_names) <= {"torch"}


@pytest.mark.parametrize("name", [name for name in modules() if "registry" in parts_of(name)])
def test_rule_4_only_the_engine_assembles_by_name(name):
    # config and the command line read the tables to check and to complete names; they resolve none
    assert name.split(".")[0] in {"engine", "config", *COMMAND_LINE}
    if not name.startswith("engine"):
        assert "registry.resolve" not in modules()[name].read_text()


@pytest.mark.parametrize("name", in_part("config"))
def test_rule_5_config_is_light(name):
    assert parts_of(name) <= {"errors", "registry", "config", ""}
    assert not {item.module.split(".")[0] for item in heads_of(name)} & {
        "torch",
        "transformers",
        "numpy",
        "peft",
    }


@pytest.mark.parametrize("name", sorted(COMMAND_LINE))
def test_rule_5_the_command_line_starts_light(name):
    at_start = {item.module for item in heads_of(name) if item.at_start}
    assert not {module.split(".")[0] for module in at_start} & HEAVY
    assert {item.part for item in heads_of(name) if item.at_start and item.part} <= {"errors", *COMMAND_LINE}
    assert parts_of(name) <= {"errors", "registry", "config", "engine", "", *COMMAND_LINE}


@pytest.mark.parametrize("name", in_part(*STAGES, "domains", "objective"))
def test_rule_6_config_stops_at_the_engine(name):
    assert "config" not in parts_of(name)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["grpo", "--help"], ["recipes", "check", "--help"], ["--version"]]
)
def test_help_imports_nothing_heavy(arguments):
    script = (
        "import sys; from maskgrpo_cli.cli import main\n"
        "try: main()\n"
        f"finally: print('HEAVY', sorted(set(sys.modules) & {HEAVY!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stderr


def test_checking_recipes_imports_no_torch():
    script = (
        "import sys; from maskgrpo_cli.cli import main\n"
        "try: main()\n"
        "finally: print('HEAVY', sorted(set(sys.modules) & {'torch', 'transformers', 'numpy'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "recipes", "check"], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stderr
