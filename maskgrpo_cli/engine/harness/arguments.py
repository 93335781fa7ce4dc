"""From the harness's words to ours: `--model_args` to a config, a request's gen_kwargs to what is drawn.

One rule where they meet: what model_args name stands; else what the task or `--gen_kwargs` say; else the recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from maskgrpo_cli.config import load, recipes
from maskgrpo_cli.config.overrides import Override
from maskgrpo_cli.config.schema import Config, EvaluationConfig, SamplerConfig
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.registry import nearest

MONTE_CARLO = 128  # noisy copies per log-likelihood, as LLaDA publishes them

_PLACES = {
    "model": "model.path",
    "adapter": "model.adapter",
    "revision": "model.revision",
    "seed": "seed",
    "device": "device",
    "dtype": "dtype",
    "offline": "offline",
    "sampler": "evaluation.sampler",
    "temperature": "evaluation.temperatures",
    **{
        key: f"{'evaluation' if key in EvaluationConfig.model_fields else 'sampler'}.{key}"
        for key in SamplerConfig.model_fields
        if key not in ("name", "temperature")
    },
}
_OWN = ("recipe", "mc_num")
KNOWN = (*_OWN, *_PLACES)
_ELSEWHERE = {  # what the harness's own models and LLaDA's evaluation script call them
    "pretrained": "model", "model_path": "model", "gen_length": "length", "max_gen_toks": "length",
    "max_length": "length", "cfg": "guidance", "cfg_scale": "guidance", "remasking": "sampler",
}  # fmt: skip

_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens")
_DRAWING = ("until", "temperature", "do_sample", *_LENGTHS)
_WITHOUT_EFFECT = {"top_p": 1, "top_k": 0, "min_p": 0, "num_beams": 1, "repetition_penalty": 1}
_MOOT_WHEN_GREEDY = ("top_p", "top_k", "min_p")


@dataclass(frozen=True)
class Settings:
    """A config, what of it model_args named, and how many noisy copies estimate a log-likelihood."""

    config: Config
    named: frozenset[str]
    mc_num: int

    @property
    def sampler(self) -> SamplerConfig:
        """The sampler of the recipe's evaluations, with what model_args changed."""
        return self.config.evaluation_sampler()


def read_model_args(given: Mapping[str, object]) -> Settings:
    """The settings that model_args ask for; raises UserError that names every wrong one.

    Without `recipe` it is the one that fits the model, or math: as in `maskgrpo eval`.
    """
    unknown = [key for key in given if key not in KNOWN]
    if unknown:
        hints = {key: _ELSEWHERE.get(key) or nearest(key, KNOWN) for key in unknown}
        told = [f"'{key}'" + (f" (did you mean '{hint}'?)" if hint else "") for key, hint in hints.items()]
        raise UserError(f"model_args: unknown: {', '.join(told)}\n  known: {', '.join(KNOWN)}")
    mc_num = given.get("mc_num", MONTE_CARLO)
    if type(mc_num) is not int or mc_num < 1:
        raise UserError(f"model_args: mc_num = {mc_num}: a whole number, at least 1, such as {MONTE_CARLO}")
    recipe, model = given.get("recipe"), given.get("model")
    overrides = [Override("output_dir", None)]
    if model is not None:  # they belong to the recipe's own model
        overrides += [Override("model.adapter", None), Override("model.revision", None)]
    for key, place in _PLACES.items():
        if key in given:
            value = [given[key]] if key == "temperature" else given[key]
            overrides.append(Override(place, value, f"model_args {key}"))
    fitting = str(recipe) if recipe is not None else (recipes.for_model(str(model)) if model else None) or "math"
    return Settings(load(fitting, overrides, "eval"), frozenset(given), mc_num)


@dataclass(frozen=True)
class Drawing:
    """How one request is completed: with which sampler, how many tokens of it count, and what cuts its text."""

    sampler: SamplerConfig
    tokens: int
    until: tuple[str, ...]

    def cut(self, text: str) -> str:
        """`text` up to the first of the stop strings."""
        ends = [place for stop in self.until if (place := text.find(stop)) >= 0]
        return text[: min(ends, default=len(text))]


def read_gen_kwargs(given: Mapping[str, object], settings: Settings) -> Drawing:
    """What a request's gen_kwargs ask of the sampler; raises UserError for what no sampler here can do."""
    sampler = settings.sampler
    if "temperature" not in settings.named:
        sampler = sampler.model_copy(update={"temperature": _temperature(given, sampler.temperature)})
    for key, value in given.items():
        if key in _DRAWING or value is None or value == _WITHOUT_EFFECT.get(key):
            continue
        if not (key in _MOOT_WHEN_GREEDY and sampler.temperature == 0):
            known = ", ".join(_DRAWING)
            raise UserError(f"gen_kwargs: {key} = {value}: our samplers have no such option; known: {known}")
    tokens = sampler.length
    asked = next((given[key] for key in _LENGTHS if given.get(key) is not None), None)
    if asked is not None and "length" not in settings.named:
        tokens = _count(asked)
        sampler = _resized(sampler, tokens, settings.named)
    return Drawing(sampler, tokens, _stops(given.get("until")))


def _temperature(given: Mapping[str, object], recipe: float) -> float:
    """do_sample decides where it is given, as elsewhere in the harness."""
    value, sample = given.get("temperature"), given.get("do_sample")
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0):
        raise UserError(f"gen_kwargs: temperature = {value}: a number, at least 0")
    temperature = float(recipe if value is None else value)
    if sample and not temperature:
        raise UserError("gen_kwargs: do_sample = True with temperature 0: write temperature=1 too, or do_sample=False")
    return 0.0 if sample is False else temperature


def _count(value: object) -> int:
    if type(value) is not int or value < 1:
        raise UserError(f"gen_kwargs: max_gen_toks = {value}: a whole number, at least 1")
    return value


def _resized(sampler: SamplerConfig, tokens: int, named: frozenset[str]) -> SamplerConfig:
    """The sampler for at least `tokens` tokens in whole blocks, with as many steps a token as before."""
    blocks = -(-tokens // sampler.block_length)
    length, steps = blocks * sampler.block_length, sampler.steps
    if "steps" not in named:
        steps = max(blocks, round(steps * length / sampler.length))
    elif steps < blocks:
        raise UserError(
            f"model_args: steps = {steps}: at least {blocks}, one for each block of {sampler.block_length} in the "
            f"{length} tokens that max_gen_toks = {tokens} takes; or name length in model_args"
        )
    return sampler.model_copy(update={"length": length, "steps": steps})


def _stops(until: object) -> tuple[str, ...]:
    stops = [until] if isinstance(until, str) else until or []
    if not isinstance(stops, (list, tuple)) or not all(isinstance(stop, str) for stop in stops):
        raise UserError(f"gen_kwargs: until = {until}: a text, or a list of texts")
    return tuple(stop for stop in stops if stop)
