"""MBPP: short Python functions asked for in a sentence, with three assertions each (arXiv 2108.07732).

The prompt is the paper's: the sentence and the assertions; a program is right that passes all of them.
"""

from __future__ import annotations

from maskgrpo_cli.domains.code import called_in, fenced, imports_of
from maskgrpo_cli.tasks.base import Built, Row
from maskgrpo_cli.tasks.code import ANSWER, CodeTask, text, texts, unrun
from maskgrpo_cli.tasks.hub import Hub

PROMPT = """You are an expert Python programmer, and here is your task: {text} Your code should pass these tests:

{tests}

{answer}"""
SPLITS = {  # of the paper, by task_id
    "prompt": range(1, 11), "test": range(11, 511), "validation": range(511, 601), "train": range(601, 975),
}  # fmt: skip
PUBLISHED = range(1, 975)


def in_split(row: Row, split: str) -> bool:
    """Whether a row is of a split, by its number; every row is of `all`, and one without a published number of any."""
    try:
        number = int(row.get("task_id") or 0)
    except (TypeError, ValueError):
        return True
    return number not in PUBLISHED or number in SPLITS.get(split, PUBLISHED)


def _build(row: Row) -> Built:
    asked, tests = text(row["text"], "text").strip(), texts(row["test_list"], "test_list")
    imports = "\n".join(texts(row.get("test_imports") or [], "test_imports"))
    parts = (imports_of(tests), imports, text(row.get("test_setup_code"), "test_setup_code"))
    setup = "\n".join(part for part in parts if part)
    code = text(row.get("code"), "code").rstrip()
    columns = {"tests": tests, "setup": setup, "entry_point": called_in(tests[0]) if tests else ""}
    prompt = PROMPT.format(text=asked, tests="\n".join(tests), answer=ANSWER)
    return prompt, columns, fenced(code) if code else None


MBPP = CodeTask(
    name="mbpp",
    rewards={"code-tests": 2.0, "code-format": 0.5},
    needed={"text": ("prompt", "question"), "test_list": ()},
    optional=("test_setup_code", "test_imports", "code", "task_id"),
    build=_build,
    verdict=unrun,
    hub=Hub("google-research-datasets/mbpp", "full", ("train", "validation", "test", "prompt")),
    key="task_id",
    in_split=in_split,
    shots_split="prompt",
)
