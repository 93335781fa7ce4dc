"""The policy: a model that is trained or sampled, with its modality and its reference."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from maskgrpo_cli import registry
from maskgrpo_cli.config.schema import Config, LoraConfig
from maskgrpo_cli.engine.devices import DTYPES
from maskgrpo_cli.engine.modality import DEFAULT, Modalities
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.models import adapters
from maskgrpo_cli.models.denoiser import Denoiser
from maskgrpo_cli.models.loading import load_tokenizer, load_weights, locate, read_config
from maskgrpo_cli.types import Vocabulary

ADAPTER, MODEL = "adapter", "model"


class Policy:
    """A denoiser with its modality, that of the task; `modalities` makes others of the same model.

    `model` is what forward passes go through (prepared by accelerate); `plain` is the same model unwrapped.
    """

    def __init__(self, model: nn.Module, modalities: Modalities, modality: str, accelerator: Accelerator, base: str):
        self.plain, self.model = model, model
        self.modalities, self.modality = modalities, modalities(modality)
        self.accelerator, self.base = accelerator, base
        self._reference: nn.Module | None = None

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that are trained."""
        return [parameter for parameter in self.plain.parameters() if parameter.requires_grad]

    def outer_parameters(self) -> list[nn.Parameter]:
        """Those of embedding and head, with their adapters, whether they are trained or not."""
        ends = self.plain.get_input_embeddings(), self.plain.get_output_embeddings()
        return [parameter for end in ends for parameter in end.parameters()]

    def is_adapter(self) -> bool:
        """Whether a LoRA adapter is what is trained."""
        return adapters.is_lora(self.plain)

    def has_dropout(self) -> bool:
        """Whether training mode would change a forward pass."""
        if self.plain.config.attention_dropout > 0:
            return True
        return any(isinstance(module, nn.Dropout) and module.p > 0 for module in self.plain.modules())

    def denoiser(self, guidance: float = 0.0, vocabulary: Vocabulary | None = None) -> Denoiser:
        """The policy as samplers and estimators call it, over the task's vocabulary where no other is given."""
        return Denoiser(self.model, vocabulary or self.modality.vocabulary, guidance)

    # --- the reference ---------------------------------------------------------------------------

    def keep_reference(self, synced: bool) -> None:
        """Freeze what the policy is now: the base behind an adapter, a second adapter if `synced`, or a copy."""
        if not self.is_adapter():
            frozen = copy.deepcopy(self.plain).requires_grad_(False).eval()
            self._reference = self.accelerator.prepare_model(frozen, evaluation_mode=True)
        elif synced:
            adapters.copy_policy_to_reference(self.plain)
            self.plain.eval()

    def sync_reference(self) -> None:
        """Copy the policy's present weights into the reference."""
        if self._reference is None:
            adapters.copy_policy_to_reference(self.plain)
        else:
            frozen = self.accelerator.unwrap_model(self._reference)
            frozen.load_state_dict(self.plain.state_dict())

    @contextlib.contextmanager
    def reference(self, guidance: float = 0.0):
        """A denoiser that answers as the reference does, while the context lasts."""
        if self._reference is not None:
            yield Denoiser(self._reference, self.modality.vocabulary, guidance)
        else:
            with adapters.as_reference(self.plain):
                yield self.denoiser(guidance)

    def reference_state(self) -> dict[str, torch.Tensor] | None:
        """What must be saved to have the reference again; None where the base model is enough."""
        if self._reference is not None:
            return self.accelerator.unwrap_model(self._reference).state_dict()
        marker = f".{adapters.REFERENCE}."
        return {name: value for name, value in self.plain.state_dict().items() if marker in name} or None

    def restore_reference(self, state: dict[str, torch.Tensor] | None) -> None:
        """Put back what `reference_state` gave, where there is a reference to put it in."""
        if state and (self._reference is not None or self.is_adapter()):
            target = self.plain if self._reference is None else self.accelerator.unwrap_model(self._reference)
            target.load_state_dict(state, strict=False)

    # --- saving ----------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write weights (or the adapter) and tokenizer below `folder`, in the layouts that others read."""
        model = self.accelerator.unwrap_model(self.model)
        if adapters.is_lora(model):
            model.save_pretrained(folder / ADAPTER, selected_adapters=[adapters.POLICY])
        else:
            model.save_pretrained(folder / MODEL)
            self.modality.tokenizer.save_pretrained(folder / MODEL)

    def restore(self, folder: Path) -> None:
        """Read back what `save` wrote, into this model."""
        from safetensors.torch import load_file

        if self.is_adapter():
            from peft import set_peft_model_state_dict

            set_peft_model_state_dict(self.plain, load_file(folder / ADAPTER / "adapter_model.safetensors"))
        else:
            shards = sorted((folder / MODEL).glob("*.safetensors"))
            self.plain.load_state_dict({k: v for shard in shards for k, v in load_file(shard).items()})

    def save_merged(self, folder: Path) -> None:
        """Write a plain model with the adapter merged into its weights."""
        merged = adapters.merge(copy.deepcopy(self.accelerator.unwrap_model(self.model)))
        merged.save_pretrained(folder)
        self.modality.tokenizer.save_pretrained(folder)


def load_policy(config: Config, accelerator: Accelerator, *, trained: bool, modality: str = DEFAULT) -> Policy:
    """The policy that a config names, on the accelerator's device and not yet prepared for training.

    Trained weights are float32; frozen ones have the config's dtype.
    """
    settings = config.model
    path, adapter = run_adapter(settings.path, settings.adapter)
    folder = locate(path, revision=settings.revision, offline=config.offline)
    frozen = not trained or settings.lora is not None or adapter is not None
    model = load_weights(model_class(folder), folder, DTYPES[config.dtype] if frozen else torch.float32)
    if adapter:
        model = adapters.load_lora(model, adapter, trainable=trained)
    elif trained and settings.lora:
        with seeded(config.seed):
            model = lora(model, settings.lora)
    if settings.gradient_checkpointing and trained:
        base = model.get_base_model() if adapters.is_lora(model) else model
        base.gradient_checkpointing_enable()
    return assemble(model, load_tokenizer(folder), modality, accelerator, path, config)


def assemble(
    model: nn.Module, tokenizer, modality: str, accelerator: Accelerator, base: str, config: Config
) -> Policy:
    """A policy of a model and its tokenizer; raises UserError where the modality does not fit them."""
    modalities = Modalities(config, tokenizer, model.config, accelerator.device)
    # fresh adapters come in training mode
    return Policy(model.to(accelerator.device).eval(), modalities, modality, accelerator, base)


def run_adapter(path: str, adapter: str | None) -> tuple[str, str | None]:
    """Base and adapter of a run directory, or a checkpoint in one, that holds an adapter; other paths as they are.

    `RUN/checkpoints/best` is the checkpoint that it names.
    """
    from maskgrpo_cli import config as recipes

    folder = recipes.runs.follow(Path(path).expanduser())
    if folder.name != Path(path).name:
        path = str(folder)
    if adapter or (folder / MODEL).exists() or not (folder / ADAPTER / "adapter_config.json").is_file():
        return path, adapter
    written = recipes.runs.run_of(folder) / "config.yaml"
    if not written.is_file():
        raise UserError(f"model '{path}': an adapter without its base; write --model BASE --adapter {path}/{ADAPTER}")
    base, _ = run_adapter(recipes.load(str(written)).model.path, None)
    # a run that went on from another run's adapter trained that one further: its own result says everything
    return base, str(folder / ADAPTER)


def model_class(folder: Path) -> type:
    """The class for config.json's model_type; raises UserError for a family that is unknown."""
    family = read_config(folder).get("model_type", "")
    if family not in registry.names("model"):
        known = ", ".join(registry.names("model"))
        raise UserError(f"model '{folder}': model_type '{family}' is not supported; supported: {known}")
    return registry.resolve("model", family)


def lora(model: nn.Module, settings: LoraConfig) -> nn.Module:
    """The model with a fresh adapter."""
    return adapters.add_lora(
        model, rank=settings.rank, alpha=settings.alpha, dropout=settings.dropout, targets=settings.targets
    )


@contextlib.contextmanager
def seeded(seed: int):
    """Library code that draws from torch's global generator is given a seed, and the generator's state is restored."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
