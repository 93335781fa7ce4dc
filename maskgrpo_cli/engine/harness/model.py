"""`--model maskgrpo`: a policy and its sampler as a model of lm-evaluation-harness.

Prompts go through the same tokenizer and template, and draws have the same keys, as in `maskgrpo eval`: on the
same prompts, with the same settings, it writes the same completions.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence

import lm_eval.models  # noqa: F401 - it makes its own models known only where none is known yet, as ours soon is
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.utils import simple_parse_args_string
from tqdm import tqdm

from maskgrpo_cli.engine.devices import gather_rows, make_accelerator
from maskgrpo_cli.engine.generation import generate
from maskgrpo_cli.engine.harness.arguments import Drawing, read_gen_kwargs, read_model_args
from maskgrpo_cli.engine.harness.likelihood import is_greedy, log_likelihood, random_masks
from maskgrpo_cli.engine.policy import load_policy
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.noise import Noise, Purpose

logger = logging.getLogger(__name__)

# what the harness passes where the user has said nothing
DEFAULT_BATCH_SIZE, DEFAULT_DEVICE = (1, "1", "auto"), "cuda:0"


@register_model("maskgrpo")
class MaskGrpoLM(LM):
    """A policy with its sampler; takes model_args by name (see `arguments.KNOWN`)."""

    def __init__(self, **model_args):
        super().__init__()
        self.settings = read_model_args(model_args)
        self.accelerator = make_accelerator(self.settings.config)
        self.policy = load_policy(self.settings.config, self.accelerator, trained=False)
        self.tokenizer = self.policy.modality.tokenizer
        self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
        self._device = self.accelerator.device
        self._templated = False

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict | None = None) -> MaskGrpoLM:
        """From `key=value,key=value`; see `create_from_arg_obj`."""
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    @classmethod
    def create_from_arg_obj(cls, arg_dict: dict, additional_config: dict | None = None) -> MaskGrpoLM:
        """From model_args and the harness's own --batch_size and --device, whose defaults leave ours in effect."""
        batch_size, device = ((additional_config or {}).get(key) for key in ("batch_size", "device"))
        options = {}
        if batch_size is not None and batch_size not in DEFAULT_BATCH_SIZE:
            options["batch_size"] = int(batch_size) if str(batch_size).isdecimal() else batch_size
        if device is not None and device != DEFAULT_DEVICE:
            options["device"] = device
        return cls(**{**options, **arg_dict})

    # --- completions -------------------------------------------------------------------------------

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """A completion per request, cut at its stop strings; requests of one task and one setting share batches.

        The draws are keyed by (seed, doc_id), those of a repeated request by its number too. With `--samples` the
        harness counts doc_id within the chosen problems, so that draws agree with `maskgrpo eval` under `--limit` only.
        """
        self._say_if_untemplated()
        drawings = [read_gen_kwargs(request.args[1], self.settings) for request in requests]
        completions = [""] * len(requests)
        progress = tqdm(total=len(requests), desc="maskgrpo", disable=disable_tqdm or self.rank != 0)
        for (drawing, repeat), indices in _groups(requests, drawings):
            for start in range(0, len(indices), drawing.sampler.batch_size):
                rows = indices[start : start + drawing.sampler.batch_size]
                for index, text in zip(rows, self._complete(requests, rows, drawing, repeat), strict=True):
                    completions[index] = text
                    self.cache_hook.add_partial("generate_until", requests[index].args, text)
                progress.update(len(rows))
        progress.close()
        return completions

    def _complete(self, requests: list[Instance], rows: list[int], drawing: Drawing, repeat: int) -> list[str]:
        prompts = self._encode([requests[row].args[0] for row in rows])
        samples = tuple(_document(requests[row], row) for row in rows)
        noise = Noise((self.settings.config.seed, 0, repeat, Purpose.EVALUATION), samples)
        response = generate(self.policy, prompts, drawing.sampler, noise)[:, : drawing.tokens]
        return [drawing.cut(text) for text in self.policy.modality.decode(response)]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of texts as they are: what a template adds stands in the text already."""
        return self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]

    # --- log-likelihoods ---------------------------------------------------------------------------

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """(LLaDA's estimate of log p(continuation | context) from `mc_num` noisy copies, whether it is greedy)."""
        results = []
        for number, request in enumerate(tqdm(requests, desc="maskgrpo", disable=disable_tqdm or self.rank != 0)):
            prompt, answer = self._encode_pair(*request.args[:2])
            results.append(self._likelihood(prompt, answer, (_document(request, number), request.idx or 0)))
            self.cache_hook.add_partial("loglikelihood", request.args, results[-1])
        return results

    def _likelihood(self, prompt: list[int], answer: list[int], key: tuple[int, int]) -> tuple[float, bool]:
        if not answer:
            return 0.0, True
        noise = Noise((self.settings.config.seed, *key, Purpose.EVALUATION), tuple(range(self.settings.mc_num)))
        masks, sampler = random_masks(noise, len(answer)), self.settings.sampler
        value = log_likelihood(self.policy, prompt, answer, masks, sampler)
        return value, is_greedy(self.policy, prompt, answer, sampler)

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Ids of both, tokenized together; the context's trailing spaces go with the continuation."""
        bare = context.rstrip()
        whole, prompt = self._encode([context + continuation, bare])
        return whole[: len(prompt)], whole[len(prompt) :]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Raises UserError: perplexity over a text of any length is not defined for a masked diffusion model."""
        raise UserError(
            "the model 'maskgrpo' answers no loglikelihood_rolling requests (perplexity of whole texts): a masked "
            "diffusion model has no next-token probabilities; choose tasks that generate or compare answers"
        )

    # --- chat templates ----------------------------------------------------------------------------

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The prompt of chat turns, as `maskgrpo eval` writes it; without a template, the plain text."""
        self._templated = True
        if not self.tokenizer.chat_template:
            return "\n".join(message["content"] for message in chat_history)
        return self.tokenizer.apply_chat_template(
            list(chat_history), tokenize=False, add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )

    def chat_template(self, chat_template: bool | str = False) -> str:
        """The checkpoint's template; it has one, so none can be named."""
        if isinstance(chat_template, str):
            raise UserError(f"--apply_chat_template {chat_template}: write it without a name; a checkpoint has one")
        return self.tokenizer.chat_template or ""

    @property
    def tokenizer_name(self) -> str:
        """Part of the names of the harness's request caches."""
        return self.settings.config.model.path.replace("/", "__")

    def _say_if_untemplated(self) -> None:
        if self.tokenizer.chat_template and not self._templated:
            logger.warning(
                "prompts are plain text: the checkpoint has a chat template, which `maskgrpo eval` applies; "
                "add --apply_chat_template to do the same"
            )
            self._templated = True  # once is enough

    # --- processes and records ---------------------------------------------------------------------

    def all_gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensors of all processes, one after another."""
        return self.accelerator.gather(tensor)

    def gather_object(self, obj: object, dst: int = 0) -> list | None:
        """The objects of all processes on process `dst`, None on the others."""
        gathered = gather_rows(self.accelerator, [obj])
        return gathered if self.rank == dst else None

    def barrier(self) -> None:
        """Wait for the other processes."""
        self.accelerator.wait_for_everyone()

    def get_model_info(self) -> dict:
        """What the harness writes into its results beside model_args."""
        config = self.settings.config.model_dump(mode="json", include={"model", "seed", "dtype"})
        return {"maskgrpo": {**config, "sampler": self.settings.sampler.model_dump(), "mc_num": self.settings.mc_num}}


def _document(request: Instance, place: int) -> int:
    """The row of the request's problem, or its own place where it belongs to no task."""
    return place if request.doc_id is None else request.doc_id


def _groups(requests: list[Instance], drawings: list[Drawing]) -> list[tuple[tuple[Drawing, int], list[int]]]:
    """((drawing, number of the repeat), places) of requests that can share batches, in the order given."""
    groups: dict[tuple, tuple[tuple[Drawing, int], list[int]]] = {}
    seen: Counter = Counter()
    for place, (request, drawing) in enumerate(zip(requests, drawings, strict=True)):
        again = (request.task_name, _document(request, place), request.idx)
        repeat = seen[again]
        seen[again] += 1
        alike = (request.task_name, repeat, json.dumps(drawing.sampler.model_dump()), drawing.tokens, drawing.until)
        groups.setdefault(alike, ((drawing, repeat), []))[1].append(place)
    return list(groups.values())
