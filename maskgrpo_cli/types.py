"""The types that stages hand to one another. Shapes: B batch, S canvas length, L completion length, V vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from torch import Tensor


# --- tasks and rewards (no torch) -------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """One row of a task: what is asked, what a good answer looks like, and what rewards need to know."""

    id: str
    messages: tuple[Mapping[str, str], ...]  # chat turns, the last one the user's
    columns: Mapping[str, Any]  # the task's columns, passed to rewards by name
    target: str | None = None  # a worked completion, for SFT

    @property
    def prompt(self) -> str:
        """The last user turn, as rewards and tables show it."""
        return self.messages[-1]["content"]


DEFAULT_PROTOCOL = "maskgrpo"
"""The way of judging that every task has: its own. Others are those of publications, such as `d1`."""


class Parts(NamedTuple):
    """How much of one answer is right where a protocol counts less than whole answers: 3 of 8 cells."""

    right: int
    of: int
    unit: str  # in the plural


@dataclass(frozen=True)
class Verdict:
    """What evaluation says of one completion: a score in [0, 1], the answer that was read, and why.

    With `parts` the protocol's accuracy is the share of all parts; without, that of right completions.
    """

    score: float
    answer: str | None = None
    reason: str = ""
    parts: Parts | None = None
    status: str = ""  # in a word where the task has one, such as `timeout`

    @property
    def correct(self) -> bool:
        """Whether the completion is entirely right."""
        return self.score >= 1.0

    @property
    def counts(self) -> bool:
        """Whether anything of the completion is counted; not where there is nothing to compare it with."""
        return self.parts is None or self.parts.of > 0


Judge = Callable[[str, Mapping[str, Any]], Verdict]
"""`judge(completion, columns)`: the verdict by the task's columns."""


@dataclass(frozen=True)
class Published:
    """How a publication judges a task's completions, and why its verdict is another than the task's own."""

    judge: Judge
    why: Callable[[str, Mapping[str, Any], Verdict, Verdict], str]  # completion, columns, own verdict, the other


class Task(Protocol):
    """Data + prompt + the names of its rewards; training and evaluation share it."""

    name: str
    rewards: Mapping[str, float]  # default reward names and weights

    @property
    def layout(self) -> str | None:
        """The registered name of the layout in which an evaluation leaves pictures; None, or no attribute: no other."""

    @property
    def judges(self) -> bool:
        """Whether it can tell right from wrong at all; a task without this attribute can."""

    @property
    def protocols(self) -> Mapping[str, Judge]:
        """The ways of judging that the task knows, by name; a task without this attribute has its own alone."""

    def load(
        self,
        data: str | None,
        split: str,
        *,
        columns: Mapping[str, str] | None = None,
        limit: int | None = None,
        offline: bool = False,
        seed: int = 0,
    ) -> list[Problem]:
        """Problems of `split` (train, validation, test) from a file, a hub id or the task's own source."""

    def judge(self, completion: str, problem: Problem, protocol: str = DEFAULT_PROTOCOL) -> Verdict:
        """The evaluation verdict on one completion, by one of `protocols`."""

    def judge_all(
        self, completions: Sequence[Any], problems: Sequence[Problem], executor: Executor,
        protocol: str = DEFAULT_PROTOCOL,
    ) -> list[Verdict]:
        """The verdicts on many completions at once, whose programs `executor` runs; asked instead of `judge`.

        A task without this method has completions that are judged one by one, and runs no programs.
        """

    def reference(self, problem: Problem) -> str | None:
        """A completion that is right; without this method it is the problem's target."""

    def restore(self, question: str, ground_truth: Any, key: str) -> Problem:
        """The problem `key` of a row of text made elsewhere; raises ValueError where it is none.

        Needed by `eval --generations` alone, like `difference`. `ground_truth` is what published files hold, None
        where they have none, or the columns of the task by name.
        """

    def difference(self, completion: str, problem: Problem, protocol: str, own: Verdict, other: Verdict) -> str:
        """Why the verdict by `protocol` is another than the task's own, in words."""

    def style(self, completion: str) -> str | None:
        """The style of a completion (such as `worked`), where the task tells styles apart; else None."""


Reward = Callable[..., "Sequence[float | None]"]
"""`reward(prompts, completions, **columns)`: one float per completion, None where not applicable (TRL's signature).

One with a method `begin`, of the same arguments, can work while further completions are made: it starts, and returns a
function without arguments that waits for the values.
"""


# --- running programs that a model wrote ------------------------------------------------------------

Status = Literal["passed", "failed", "error", "timeout", "limit"]


@dataclass(frozen=True)
class Program:
    """Source code that nobody trusts, and the tests of it.

    Each test is Python source, judged on its own: it passes when it runs to its end. In it the names that `source`
    defines are at hand, and `module` can be imported from; a name of the language, such as `sum`, means the program's
    only where it is the one `asked` for. `setup` runs before the tests, on their side.
    """

    source: str
    tests: tuple[str, ...]
    setup: str = ""
    module: str = "solution"
    timeout: float | None = None  # wall-clock seconds for one test; None: the executor's own
    asked: str = ""


@dataclass(frozen=True)
class TestResult:
    """What became of one test: its status, why it is not passed, and the ends of what the program printed."""

    status: Status
    reason: str = ""
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0


class Executor(Protocol):
    """Runs programs where they can do no harm; see `sandbox`."""

    def submit(self, program: Program) -> Future[list[TestResult]]:
        """Start on a program beside the caller's work; one result for each of its tests, in their order."""

    def run(self, programs: Sequence[Program]) -> list[list[TestResult]]:
        """The results of many programs, in their order."""

    def close(self) -> None:
        """Stop what still runs, and leave nothing of it behind."""


# --- modalities, models, samplers, estimators -------------------------------------------------------


@dataclass
class Canvas:
    """Prompts, left-padded, followed by a response span that starts as masks.

    `unconditional` is the same canvas with the condition taken away, for guidance.
    """

    ids: Tensor  # [B, S] int64
    attention_mask: Tensor | None  # [B, S] bool, False on padding; None where nothing is padded
    start: int  # the response is ids[:, start:start + length]
    length: int
    unconditional: Canvas | None = None

    @property
    def response(self) -> Tensor:
        """[B, L] the response columns."""
        return self.ids[:, self.start : self.start + self.length]

    def rows(self, index) -> Canvas:
        """The canvas of some rows only; `index` is anything that indexes a tensor's first dimension."""
        return Canvas(
            self.ids[index],
            None if self.attention_mask is None else self.attention_mask[index],
            self.start,
            self.length,
            None if self.unconditional is None else self.unconditional.rows(index),
        )

    def to(self, device) -> Canvas:
        """The canvas on a device."""
        return Canvas(
            self.ids.to(device),
            None if self.attention_mask is None else self.attention_mask.to(device),
            self.start,
            self.length,
            None if self.unconditional is None else self.unconditional.to(device),
        )


@dataclass(frozen=True)
class Vocabulary:
    """What a modality may write: a slice of the embedding rows, less the ids that may never be generated."""

    mask_id: int
    first: int  # the slice of embedding rows that log-probabilities are taken over
    last: int  # exclusive
    forbidden: Tensor | None  # [V] bool over the slice: never generated (mask, ids without a token, ...)
    end_ids: tuple[int, ...] = ()  # tokens that end an answer
    fill_id: int | None = None  # what fills the places after the end of an answer


class Modality(Protocol):
    """What a model reads and writes: prompts to canvases, ids to completions. Text is one, pictures are another."""

    tokenizer: Any
    vocabulary: Vocabulary
    prompt_overhead: int  # tokens that every prompt has besides what is asked
    saves_files: bool  # whether `written` saves completions as files
    supervision: str  # the registered name of how it is learnt from worked answers

    def encode(self, chats: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[int]]:
        """Prompt ids of chats."""

    def render(self, chats: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
        """The text that the model sees of chats."""

    def cut(self, prompt: list[int], length: int) -> list[int]:
        """A prompt that is too long, cut where it matters least."""

    def without_condition(self, prompt: list[int]) -> list[int]:
        """What stands in the place of a prompt that is left out in training, so that guidance has a counterpart."""

    def canvas(self, prompts: Sequence[Sequence[int]], length: int) -> Canvas:
        """Prompts and a response of `length` masks, on the CPU."""

    def answers(self, completions: Sequence[Any], length: int) -> Tensor:
        """Ids [B, L] of completions to be learnt; raises UserError for a length that no completion has."""

    def missing(self, answers: Tensor) -> Tensor:
        """[B] bool: answers [B, L] of which the end did not fit."""

    def valid(self, response: Tensor) -> Tensor:
        """[B, L] bool: the tokens that belong to the answer."""

    def decode(self, response: Tensor) -> list[Any]:
        """The completions as rewards and judges see them: strings, or PIL images."""

    def written(self, completion: Any, folder: Path | None, name: str) -> str:
        """A completion as a line of a file holds it; what is no text is saved as `folder/name`, if there is one."""

    def pieces(self, row: Tensor) -> list[str | None]:
        """Each token of one response [L] in words, None where it is still masked."""


@dataclass
class Memory:
    """Keys and values that a denoiser keeps from one pass to the next, and which columns a pass computes anew.

    The first pass fills it, from all columns. A later one computes the columns of `window` only, and attends to
    what is remembered of the others: that changes the output, because theirs would have changed too.
    """

    window: slice | None = None  # columns computed anew; None: all
    rows: Tensor | None = None  # the remembered rows that a pass is about; None: all
    layers: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # keys and values, [B, S, H, D] each

    def renew(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Take in the keys and values [R, W, H, D] of the window; returns those of all columns, [R, S, H, D]."""
        if layer == len(self.layers):
            self.layers.append((keys, values))
            return keys, values
        window = slice(None) if self.window is None else self.window
        for kept, new in zip(self.layers[layer], (keys, values), strict=True):
            kept[slice(None) if self.rows is None else self.rows, window] = new
        kept = self.layers[layer]
        return kept if self.rows is None else (kept[0][self.rows], kept[1][self.rows])


class Denoise(Protocol):
    """The model as a sampler sees it."""

    def __call__(self, canvas: Canvas, positions: Tensor, memory: Memory | None = None) -> Tensor:
        """Logits [B, M, V] over the vocabulary slice, at columns `positions` [B, M] of the canvas.

        With a memory the canvas holds the memory's `rows`, and the positions lie in its `window`.
        """


Observe = Callable[[int, int, "Tensor"], None]
"""`observe(step, steps, response)`: called after each denoising step with the response [B, L] so far."""


@dataclass(frozen=True)
class Supervision:
    """How a modality is learnt: the loss is - sum(weight * log p) over the copies / sum of the examples' shares."""

    copy: Callable[..., NoisyCopy]  # (canvas, noise, **options)
    share: Callable[..., Tensor]  # (noise, length, **options) -> [B]; every process can ask for those of all


@dataclass(frozen=True)
class NoisyCopy:
    """A completion re-masked to be scored (one update may need several copies, as `coupled` does)."""

    mask: Tensor  # [B, S] bool: what the noisy copy hides, prompt included
    scored: Tensor  # [B, L] bool: completion tokens whose log-probability counts
    weight: Tensor  # [B, L] float: weight of those log-probabilities
