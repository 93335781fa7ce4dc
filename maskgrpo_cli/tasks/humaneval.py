"""HumanEval: functions to be completed from their signature and docstring (arXiv 2107.03374).

A completion goes on with the prompt, as in the paper; a fenced block that repeats the function is a whole program.
"""

from __future__ import annotations

from maskgrpo_cli.domains.code import before, fenced
from maskgrpo_cli.tasks.base import Built, Row
from maskgrpo_cli.tasks.code import ANSWER, CodeTask, text, unrun
from maskgrpo_cli.tasks.hub import Hub

PROMPT = """Complete the following Python function.

```python
{opening}
```

{answer} Repeat the whole function."""


def _build(row: Row) -> Built:
    opening, name = text(row["prompt"], "prompt"), text(row["entry_point"], "entry_point").strip()
    test = text(row["test"], "test")
    if not name.isidentifier():
        raise ValueError(f"'entry_point' is no name of a function: {name!r}")
    solution = text(row.get("canonical_solution"), "canonical_solution").rstrip()
    columns = {
        "tests": (f"{test.strip()}\n\ncheck({name})",) if test.strip() else (),
        "setup": before(opening, name),  # helpers that the test calls, and no program may replace
        "entry_point": name,
        "opening": opening,
    }
    prompt = PROMPT.format(opening=opening.strip("\n"), answer=ANSWER)
    return prompt, columns, fenced(opening + solution) if solution else None


HUMANEVAL = CodeTask(
    name="humaneval",
    rewards={"code-tests": 2.0, "code-format": 0.5},
    needed={"prompt": (), "entry_point": (), "test": ()},
    optional=("canonical_solution", "task_id"),
    build=_build,
    verdict=unrun,
    hub=Hub("openai/openai_humaneval", None, ("test",)),
    key="task_id",
)
