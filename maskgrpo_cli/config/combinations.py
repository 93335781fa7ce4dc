"""What several keys must be together.

A combination names the keys that it reads; where one of them is wrong already, it stays silent, because a
default stands in its place and whatever it said would mislead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from maskgrpo_cli import registry
from maskgrpo_cli.config.mistakes import MISSING
from maskgrpo_cli.config.rules import Check, Found, into
from maskgrpo_cli.config.schema import Config, LoraConfig, SamplerConfig

BLOCKS = ("length", "block_length", "steps")
ALWAYS_THE_SAME = ("low-confidence", "confidence-threshold")  # at temperature 0; the others draw an order
PUBLISHED_TARGETS = {"o_proj": "attn_out", "gate_proj": "ff_proj", "down_proj": "ff_out"}
RULES: list[Check] = []
check = into(RULES)


@check(*(f"sampler.{key}" for key in BLOCKS))
def _blocks(config: Config) -> Found:
    yield from _block_rules(config.sampler, {key: f"sampler.{key}" for key in BLOCKS})


@check("evaluation.lengths", *(f"{section}.{key}" for section in ("sampler", "evaluation") for key in BLOCKS),
       commands=("eval",))
def _length_alone(config: Config) -> Found:
    if not config.evaluation.lengths:
        yield from _evaluation_blocks(config)


@check(*(f"{section}.{key}" for section in ("sampler", "evaluation") for key in BLOCKS),
       commands=("sft", "grpo", "sample", None))
def _evaluation_blocks(config: Config) -> Found:
    own = config.evaluation
    keys = {key: f"{'evaluation' if getattr(own, key) else 'sampler'}.{key}" for key in BLOCKS}
    if any(key.startswith("evaluation") for key in keys.values()):
        yield from _block_rules(config.evaluation_sampler(), keys)


@check("evaluation.lengths", *(f"{section}.{key}" for section in ("sampler", "evaluation") for key in BLOCKS))
def _evaluation_lengths(config: Config) -> Found:
    own = config.evaluation
    found = set()
    for sampler in config.evaluation_samplers() if own.lengths else ():
        keys = {key: f"{'evaluation' if getattr(own, key) else 'sampler'}.{key}" for key in BLOCKS}
        keys["length"] = f"evaluation.lengths[{own.lengths.index(sampler.length)}]"
        for key, value, allowed, _ in _block_rules(sampler, keys):
            found.add((key, value, allowed, None))  # the same at every temperature
    yield from sorted(found, key=str)


@check("evaluation.temperatures", commands=("eval",))
def _temperature_twice(config: Config) -> Found:
    yield from _twice("evaluation.temperatures", config.evaluation.temperatures)


@check("evaluation.lengths", commands=("eval",))
def _length_twice(config: Config) -> Found:
    yield from _twice("evaluation.lengths", config.evaluation.lengths or ())


def _twice(key: str, values: Sequence) -> Found:
    for index, value in enumerate(values):
        if value in values[:index]:
            yield f"{key}[{index}]", value, "stands there twice; take one out", None


@check("evaluation.samples", "evaluation.pass_at", commands=("eval",))
def _pass_at(config: Config) -> Found:
    own = config.evaluation
    for index, k in enumerate(own.pass_at or ()):
        if k > own.samples:
            advice = f"pass@{k} needs {k} completions of each problem; write -n {k} or more (now {own.samples})"
            yield f"evaluation.pass_at[{index}]", k, advice, None


@check("evaluation.samples", "evaluation.temperatures", "sampler.name", "evaluation.sampler", commands=("eval",))
def _greedy_samples(config: Config) -> Found:
    own = config.evaluation
    name = own.sampler or config.sampler.name
    if own.samples > 1 and 0 in own.temperatures and name in ALWAYS_THE_SAME:
        advice = f"{name} at temperature 0 writes the same completion every time; write -n 1, or --temperature 1"
        yield "evaluation.samples", own.samples, advice, None


@check("evaluation.shots", "evaluation.shots_data", commands=("eval",))
def _shots_data(config: Config) -> Found:
    own = config.evaluation
    if own.shots_data is not None and not own.shots:
        yield "evaluation.shots_data", own.shots_data, "say how many of its examples to show, such as --shots 4", None


def _block_rules(sampler: SamplerConfig, keys: Mapping[str, str]) -> Found:
    """The block length divides the length, every block gets a step; `keys` says where each value stands."""
    length, block = sampler.length, sampler.block_length
    if length % block:
        lengths = sorted({max(length // block, 1) * block, (length // block + 1) * block})
        advice = f"must divide {keys['length']} = {length}, as {_either(_divisors(length, block))} would"
        yield keys["block_length"], block, f"{advice}; or set the length to {_either(lengths)}", None
    elif sampler.steps < (blocks := length // block):
        advice = f"at least {blocks}, one step for each block of {block} in {keys['length']} = {length}"
        yield keys["steps"], sampler.steps, advice, None


def _divisors(length: int, near: int) -> list[int]:
    """The divisors of `length` on both sides of `near`."""
    limit = min(length, 4096)  # a block longer than that is nobody's wish, and the search stays short
    divisors = [d for d in range(1, limit + 1) if length % d == 0]
    below, above = [d for d in divisors if d < near][-1:], [d for d in divisors if d > near][:1]
    return below + above


def _either(values: list[int]) -> str:
    return " or ".join(str(value) for value in values)


@check("sft.from_scratch")
def _architecture(config: Config) -> Found:
    shape = config.sft.from_scratch
    if shape is None:
        return
    heads = shape.n_heads
    if shape.d_model % heads:
        yield "sft.from_scratch.d_model", shape.d_model, f"a multiple of n_heads = {heads}", None
    elif (shape.d_model // heads) % 2:
        advice = f"d_model / n_heads must be even for rotary embeddings, here it is {shape.d_model // heads}"
        yield "sft.from_scratch.d_model", shape.d_model, advice, None
    if shape.n_kv_heads is not None and heads % shape.n_kv_heads:
        yield "sft.from_scratch.n_kv_heads", shape.n_kv_heads, f"a divisor of n_heads = {heads}", None


@check("sft.from_scratch", "model.lora", "model.adapter", commands=("sft",))
def _scratch_adapter(config: Config) -> Found:
    for key in ("lora", "adapter"):
        if config.sft.from_scratch is not None and getattr(config.model, key) is not None:
            advice = "an adapter needs trained weights under it; take out this or sft.from_scratch"
            yield f"model.{key}", MISSING, advice, None


@check("model.lora.targets")
def _targets(config: Config) -> Found:
    known = LoraConfig().targets
    for index, name in enumerate(config.model.lora.targets if config.model.lora else []):
        if name not in known:
            hint = PUBLISHED_TARGETS.get(name) or registry.nearest(name, known)
            yield f"model.lora.targets[{index}]", name, "no such layer; known: " + ", ".join(known), hint


@check("model.merge", "model.lora", "model.adapter")
def _merge(config: Config) -> Found:
    if config.model.merge and config.model.lora is None and config.model.adapter is None:
        advice = "needs an adapter to merge; set model.lora, such as model.lora.rank=16"
        yield "model.merge", True, advice, None


@check("grpo.objective.sync_ref_steps", "grpo.objective.beta")
def _reference(config: Config) -> Found:
    objective = config.grpo.objective
    if objective.sync_ref_steps and not objective.beta:
        advice = "0 while grpo.objective.beta is 0: there is no reference to refresh"
        yield "grpo.objective.sync_ref_steps", objective.sync_ref_steps, advice, None


@check("evaluation", "grpo.evaluate_every", commands=("grpo",))
def _grpo_curve(config: Config) -> Found:
    yield from _curve(config, config.grpo.evaluate_every)


@check("evaluation", "sft.evaluate_every", commands=("sft",))
def _sft_curve(config: Config) -> Found:
    yield from _curve(config, config.sft.evaluate_every)


def _curve(config: Config, every: int | None) -> Found:
    """What is decided by evaluations needs evaluations."""
    own = config.evaluation
    if own.every if every is None else every:
        return
    advice = "needs evaluations while training; set evaluation.every, such as evaluation.every=20"
    if own.patience:
        yield "evaluation.patience", own.patience, advice, None
    if own.keep == "best":
        yield "evaluation.keep", own.keep, advice, None


@check("tokenizer", commands=("tokenizer", None))
def _levels(config: Config) -> Found:
    own = config.tokenizer
    sides, groups = {"encoder": own.encoder, "decoder": own.decoder}, own.group_norm_groups
    levels = len(own.encoder.ch_mult)
    for name, side in sides.items():
        for key in ("ch_mult", "num_res_blocks"):
            if len(value := getattr(side, key)) != levels:
                yield f"tokenizer.{name}.{key}", value, f"{levels} numbers, as many as tokenizer.encoder.ch_mult", None
        if any(side.ch * factor % groups for factor in side.ch_mult):
            advice = f"a multiple of tokenizer.group_norm_groups = {groups} on every level (ch times ch_mult)"
            yield f"tokenizer.{name}.ch", side.ch, advice, None
    if own.size % (factor := 2 ** (levels - 1)):
        yield "tokenizer.size", own.size, f"a multiple of {factor}, a code's side with {levels} levels", None


@check("tokenizer.optimizer.name", commands=("tokenizer", None))
def _convolutions(config: Config) -> Found:
    if config.tokenizer.optimizer.name == "muon":
        yield "tokenizer.optimizer.name", "muon", "adamw; Muon is for matrices, and this model is convolutions", None


@check("task.rewards", commands=("grpo", None))
def _something_to_learn(config: Config) -> Found:
    rewards = config.task.rewards
    if rewards is not None and not any(rewards.values()):
        yield "task.rewards", MISSING, "at least one reward with a weight other than 0", None
