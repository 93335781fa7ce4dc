"""`maskgrpo sample`: completions of prompts, text or pictures."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskgrpo_cli import cli_options as options
from maskgrpo_cli.cli_keys import overrides
from maskgrpo_cli.cli_options import option, words
from maskgrpo_cli.errors import UserError

if TYPE_CHECKING:
    from maskgrpo_cli.config import Override

Prompt = Annotated[
    list[str] | None,
    option(
        "--prompt",
        "TEXT",
        "What to ask, or what to draw, repeatable; - reads the standard input. Example: --prompt 'What is 3 + 4?'",
    ),
]
MaybeRecipe = Annotated[
    str | None,
    option(
        "--recipe",
        "NAME|FILE",
        "A bundled recipe, a YAML file or a run directory; default: the one that fits --model, else text-to-image "
        "where a sampler or an option of pictures is named, else math. Example: --recipe math",
        options.complete_recipe,
    ),
]
Count = Annotated[
    int,
    typer.Option("-n", "--count", metavar="N", min=1, help="Completions of each prompt. Example: -n 4"),
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", "--sampling-steps", metavar="N", show_default=False,
                 help="Denoising steps. Example: --steps 16"),
]
Trace = Annotated[
    str | None,
    option(
        "--trace",
        "FILE",
        "Show the denoising step by step: an HTML page for text; for pictures an animation (.gif, .png, .webp) with a "
        "filmstrip beside it. Example: --trace trace.html",
    ),
]
Output = Annotated[
    str | None,
    option(
        "--output",
        "FOLDER",
        "Pictures: where they go, next to what is there; default: a new folder in samples/. Example: --output pictures",
    ),
]
Compare = Annotated[
    str | None,
    option(
        "--compare",
        "SAMPLER",
        "Pictures: draw the same with a second sampler, side by side. Example: --compare maskgit",
        options.complete_sampler,
    ),
]
Edit = Annotated[
    str | None,
    option(
        "--edit",
        "IMAGE",
        "Pictures: change this one; say with --keep or --strength what. Example: --edit cat.png --strength 0.5",
    ),
]
Keep = Annotated[
    str | None,
    option(
        "--keep",
        "MASK",
        "With --edit: what is white in this picture stays, the rest is drawn anew. Example: --keep mask.png",
    ),
]
Strength = Annotated[
    float | None,
    option(
        "--strength",
        "X",
        "With --edit: hide about this share of the tokens, 0 to 1, and draw them anew. Example: --strength 0.5",
    ),
]
Mode = Annotated[
    str | None,
    option(
        "--mode",
        "NAME",
        "With --strength: prob-remask hides tokens at random, flow-remask those that the model holds least likely. "
        "Example: --mode flow-remask",
        words("prob-remask", "flow-remask"),
    ),
]
Like = Annotated[
    str | None,
    option(
        "--like",
        "PNG",
        "Draw a picture of maskgrpo sample again, by what its file says; other options change that. "
        "Example: --like picture.png --seed 1",
    ),
]
NoPreview = Annotated[bool, option("--no-preview", None, "Show no pictures in the terminal. Example: --no-preview")]

PICTURE_SAMPLERS = ("emerge", "maskgit", "edit")
PICTURE_OPTIONS = ("output", "compare", "edit", "keep", "strength", "mode", "like")
TEXT, PICTURES = "math", "text-to-image"


def sample(
    ctx: typer.Context,
    prompt: Prompt = None,
    recipe: MaybeRecipe = None,
    model: options.Model = None,
    adapter: options.Adapter = None,
    sampler: options.Sampler = None,
    steps: Steps = None,
    length: options.Length = None,
    block_length: options.BlockLength = None,
    temperature: options.Temperature = None,
    threshold: options.Threshold = None,
    cache: options.Cache = None,
    guidance: options.Guidance = None,
    count: Count = 1,
    trace: Trace = None,
    output: Output = None,
    compare: Compare = None,
    edit: Edit = None,
    keep: Keep = None,
    strength: Strength = None,
    mode: Mode = None,
    like: Like = None,
    no_preview: NoPreview = False,
    seed: options.Seed = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    offline: options.Offline = False,
    set_: options.Set = None,
) -> None:
    """Write completions of prompts, or draw pictures of them.

    \b
    Examples:
      maskgrpo sample --prompt "Tom has 3 apples and buys 4. How many has he?"
      maskgrpo sample --model runs/first --prompt "..." -n 4 --temperature 0.7
      echo "..." | maskgrpo sample --prompt - --sampler low-confidence --trace trace.html
      maskgrpo sample --sampler emerge --prompt "a red circle left of a blue square" -n 4
      maskgrpo sample --sampler emerge --compare maskgit --prompt "two green crosses" --trace film.gif
      maskgrpo sample --edit picture.png --strength 0.5 --prompt "a red circle and a white cross"
    """
    # read when torch is imported: beside other work, threads that wait by spinning take three times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from maskgrpo_cli.config import load

    _check_sampler(ctx)
    more = {name: ctx.params[name] for name in ("output", "compare", "edit", "keep", "strength", "mode")}
    more["preview"] = False if no_preview else None
    repeated: list[Override] = []
    if like is not None:
        texts, repeated, numbers = _repeated(like, prompt, edit)
        more |= numbers
    else:
        texts = [read_prompt(text) for text in prompt or ()]
    if not texts:
        raise UserError("--prompt: say what to ask, or to draw, such as --prompt 'What is 3 + 4?'")
    chosen = recipe or _guessed(ctx.params)
    config = load(chosen, [*repeated, *overrides("sample", ctx.params)], "sample")
    check_threshold(threshold, config.sampler.name)
    if recipe is None:
        typer.secho(f"recipe: {chosen}; another with --recipe NAME", dim=True, err=True)
    from maskgrpo_cli.engine.sampling import run

    run(config, texts, count, trace, **{name: value for name, value in more.items() if value is not None})


def check_threshold(threshold: float | None, sampler: str) -> None:
    """Raises UserError where a threshold was given that the sampler would not read."""
    if threshold is not None and sampler != "confidence-threshold" and ":" not in sampler:
        raise UserError(
            f"--threshold {threshold:g}: the sampler '{sampler}' has none; add --sampler confidence-threshold, or "
            "leave it out"
        )


def fitting_recipe(model: str | None, task: str | None = None) -> str:
    """The recipe to use where only a model or a task is named, or nothing at all."""
    from maskgrpo_cli import registry
    from maskgrpo_cli.config import recipes

    return (recipes.for_model(model) if model else None) or (PICTURES if task in registry.DRAWN else TEXT)


def read_prompt(text: str) -> str:
    """A prompt as it was given, or the standard input for `-`; raises UserError where it is empty."""
    try:
        prompt = (sys.stdin.read() if text == "-" else text).strip()
    except UnicodeDecodeError as error:
        raise UserError("--prompt -: the standard input is not text (UTF-8)") from error
    if not prompt:
        where = "the standard input is empty" if text == "-" else "it is empty"
        raise UserError(f"--prompt: {where}; write a question, such as --prompt 'What is 3 + 4?'")
    return prompt


def _check_sampler(ctx: typer.Context) -> None:
    """Raises UserError where `edit` is named without a picture, or another sampler with one.

    `edit` is in no table: without a picture there is nothing for it to do. Here it is what --edit means anyway.
    """
    sampler, edited = ctx.params["sampler"], ctx.params["edit"]
    if sampler == "edit" and edited is None:
        raise UserError(
            "--sampler edit: name the picture to edit, with what may change: add --edit IMAGE and --keep MASK or "
            "--strength X"
        )
    if edited is not None and sampler is not None:
        if sampler not in ("edit", "emerge"):
            raise UserError(f"--sampler {sampler}: an edit takes the steps of emerge; leave it out, or --edit")
        ctx.params["sampler"] = None


def _guessed(params: dict[str, Any]) -> str:
    """The recipe that fits the model, or the sampler and the options, where none is named."""
    from maskgrpo_cli.config import recipes

    model = params["model"]
    if model and (found := recipes.for_model(model)):
        return found
    pictures = params["sampler"] in PICTURE_SAMPLERS or any(params[name] is not None for name in PICTURE_OPTIONS)
    other = model and recipes.family(model) is not None  # a text model stays one with emerge
    return PICTURES if pictures and not other else TEXT


def _repeated(like: str, prompt: list[str] | None, edit: str | None) -> tuple[list[str], list[Override], dict]:
    """Prompts, settings and numbers of what a picture says of itself."""
    from maskgrpo_cli.config import Override
    from maskgrpo_cli.engine.pictures.metadata import repetition

    told = repetition(like)
    if told.edited and edit is None:
        raise UserError(
            f"--like {like}: it is an edit of {told.edited}; name that picture too: add --edit IMAGE with --keep MASK "
            "or --strength X"
        )
    settings = [Override(key, value, "--like") for key, value in told.settings.items()]
    texts = [read_prompt(text) for text in prompt] if prompt else [told.prompt]
    return texts, settings, {"first": told.sample, "weights": told.weights}
