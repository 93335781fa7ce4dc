"""`maskgrpo lm-eval`: what follows is handed on to lm-evaluation-harness."""

from __future__ import annotations

import typer

from maskgrpo_cli import cli_options as options

PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True}


def lm_eval(ctx: typer.Context, data: options.Data = None) -> None:
    """Run lm-evaluation-harness on our samplers; its other options are handed on.

    \b
    Its tasks, and the benchmarks of `maskgrpo eval` as NAME_maskgrpo with our prompts and verdicts.
    --model_args take recipe, model, length, steps, temperature, seed, ...: as `maskgrpo eval` does.
    Needs: pip install 'maskgrpo[lm-eval]'

    \b
    Examples:
      maskgrpo lm-eval --tasks arithmetic_maskgrpo --apply_chat_template --limit 64
      maskgrpo lm-eval --tasks gsm8k_maskgrpo --data gsm8k_test.jsonl.gz --apply_chat_template
      maskgrpo lm-eval --tasks gsm8k --apply_chat_template --model_args recipe=math-llada-8b,temperature=0
    """
    from maskgrpo_cli.engine.harness.command import run

    run(ctx.args, data)
