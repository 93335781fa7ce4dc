"""LLaDA (arXiv 2502.09992): a Llama-like transformer with full attention, in the published checkpoint layout.

Shapes: B batch, S sequence, M asked positions, d width, V vocabulary rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from maskgrpo_cli.models.head import DenoiserOutput, token_log_probs
from maskgrpo_cli.models.llada_config import LLaDAConfig
from maskgrpo_cli.models.saved import SavedModel
from maskgrpo_cli.types import Memory


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight, computed in float32."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] -> [..., d] in the input's dtype."""
        return self.weight * F.rms_norm(x.float(), x.shape[-1:], eps=self.eps).to(x.dtype)


def rotary_table(length: int, head_dim: int, theta: float, device) -> tuple[Tensor, Tensor]:
    """cos and signed sin of the angles p * theta^(-2j/D), both [S, 1, D] float32; the halves share their angles."""
    frequencies = theta ** (-torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim)
    angles = torch.arange(length, device=device, dtype=torch.float32)[:, None] * frequencies
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1)[:, None], torch.cat((-sin, sin), dim=-1)[:, None]


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding of x [B, S, H, D], half-split: (a, b) -> (a cos - b sin, b cos + a sin), in float32."""
    cos, sin = table
    a, b = x.float().chunk(2, dim=-1)
    return (x.float() * cos).addcmul_(torch.cat((b, a), dim=-1), sin).to(x.dtype)


def take(x: Tensor, positions: Tensor) -> Tensor:
    """x [B, S, d] at `positions` [B, M] -> [B, M, d]."""
    return x.gather(1, positions[..., None].expand(-1, -1, x.shape[-1]))


class LLaDABlock(nn.Module):
    """Pre-norm attention and SwiGLU, without biases."""

    def __init__(self, config: LLaDAConfig):
        super().__init__()
        d, self.head_dim = config.d_model, config.d_model // config.n_heads
        kv = config.n_kv_heads * self.head_dim
        self.groups = config.n_heads // config.n_kv_heads
        self.attention_dropout = config.attention_dropout
        self.attn_norm = RMSNorm(d, config.rms_norm_eps)
        self.ff_norm = RMSNorm(d, config.rms_norm_eps)
        self.q_proj = nn.Linear(d, d, bias=False)
        self.k_proj = nn.Linear(d, kv, bias=False)
        self.v_proj = nn.Linear(d, kv, bias=False)
        self.attn_out = nn.Linear(d, d, bias=False)
        self.ff_proj = nn.Linear(d, config.mlp_hidden_size, bias=False)
        self.up_proj = nn.Linear(d, config.mlp_hidden_size, bias=False)
        self.ff_out = nn.Linear(config.mlp_hidden_size, d, bias=False)
        self.dropout = nn.Dropout(config.residual_dropout)

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        positions: Tensor | None = None,
        renew: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:
        """[B, S, d] -> [B, S, d]; with `positions` [B, M], the stream at those positions only, [B, M, d].

        `mask` [B, 1, 1, S] is True where a key may be attended to; `renew` exchanges the keys and values of x for
        those of all columns, where x is a part of them.
        """
        normed = self.attn_norm(x)
        k, v = rotate(self._heads(self.k_proj(normed)), rotary), self._heads(self.v_proj(normed))
        if renew is not None:
            k, v = renew(k, v)
        if positions is not None:  # keys and values of all, queries of the asked
            x, normed = take(x, positions), take(normed, positions)
            rotary = tuple(table[positions] for table in rotary)
        q = rotate(self._heads(self.q_proj(normed)), rotary)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if self.groups > 1:
            k, v = k.repeat_interleave(self.groups, dim=1), v.repeat_interleave(self.groups, dim=1)
        dropout = self.attention_dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        x = x + self.dropout(self.attn_out(attended.transpose(1, 2).flatten(2)))
        normed = self.ff_norm(x)
        return x + self.dropout(self.ff_out(F.silu(self.ff_proj(normed)) * self.up_proj(normed)))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim))


class LLaDAModel(nn.Module):
    """Embedding, blocks and final norm; holds the head, as the published names do."""

    def __init__(self, config: LLaDAConfig):
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(config.embedding_size, config.d_model),
                "emb_drop": nn.Dropout(config.embedding_dropout),
                "blocks": nn.ModuleList(LLaDABlock(config) for _ in range(config.n_layers)),
                "ln_f": RMSNorm(config.d_model, config.rms_norm_eps),
                "ff_out": nn.Linear(config.d_model, config.embedding_size, bias=False),
            }
        )

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        positions: Tensor | None,
        trace: bool = False,
        memory: Memory | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Final-norm states [B, S, d], or [B, M, d] at `positions`; with `trace`, also the stream after each block."""
        rotary = rotary_table(
            input_ids.shape[1], self.config.d_model // self.config.n_heads, self.config.rope_theta, input_ids.device
        )
        mask = None if attention_mask is None else attention_mask.bool()[:, None, None, :]
        if memory is not None and memory.window is not None:
            input_ids, rotary = input_ids[:, memory.window], tuple(table[memory.window] for table in rotary)
            positions = positions - memory.window.start
        x = self.transformer["emb_drop"](self.transformer["wte"](input_ids))
        streams = [x]
        for index, block in enumerate(self.transformer["blocks"]):
            asked = positions if index == self.config.n_layers - 1 else None
            renew = None if memory is None else partial(memory.renew, index)
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, rotary, mask, asked, use_reentrant=False)
            else:
                x = block(x, rotary, mask, asked, renew)
            if trace:
                streams.append(x)
        x = self.transformer["ln_f"](x)
        return x, (*streams[:-1], x) if trace else ()


class LLaDAModelLM(SavedModel):
    """The denoiser p(x_0 | x_t): logits at every position, at asked ones, or their log-probabilities only."""

    config_class = LLaDAConfig

    def __init__(self, config: LLaDAConfig):
        super().__init__(config)
        self.model = LLaDAModel(config)
        self.apply(self._initialise)

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.init_std)
        elif isinstance(module, RMSNorm):
            nn.init.ones_(module.weight)

    def initialise_small(self) -> None:
        """Fresh weights for a small model trained from nothing, in place of the published initialisation.

        Each layer keeps the scale of its input, embeddings stand out from what the blocks add, and the head
        starts as the embedding, so that copying a token needs no learning. With std 0.02 throughout, a model of
        width 128 needs several times as many steps before it copies a number out of a question.
        """
        width, depth = self.config.d_model, self.config.n_layers
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                into_stream = name.endswith(("attn_out.weight", "ff_out.weight"))
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5 * ((2 * depth) ** -0.5 if into_stream else 1.0))
        embedding, head = self.get_input_embeddings().weight, self.get_output_embeddings().weight
        nn.init.normal_(embedding)
        with torch.no_grad():
            head.copy_(embedding * width**-0.5)

    # the names and arguments of transformers, which peft looks for
    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict | None = None) -> None:
        """Keep only the streams between blocks for the backward pass; the argument has no use here."""
        self.model.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Keep every activation."""
        self.model.gradient_checkpointing = False

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether only the streams between blocks are kept; peft asks."""
        return self.model.gradient_checkpointing

    def get_input_embeddings(self) -> nn.Module:
        """The embedding."""
        return self.model.transformer["wte"]

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        return self.model.transformer["ff_out"]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        positions: Tensor | None = None,
        targets: Tensor | None = None,
        vocab: tuple[int, int] | None = None,
        guidance: float = 0.0,
        logit_chunk: int = 256,
        output_hidden_states: bool = False,
        memory: Memory | None = None,
    ) -> DenoiserOutput:
        """Run the denoiser.

        Args:
            input_ids: [B, S] noisy canvas.
            attention_mask: [B, S], 0 on padding, which no position attends to.
            positions: [B, M] columns to answer for; the head, and the last block's queries, are computed there only.
            targets: [B, M] ids; with them only their log-probabilities [B, M] and the entropies [B, M] come
                back, computed `logit_chunk` positions at a time, so that full logits never exist at once.
            vocab: (first, last) rows of the head that make up the vocabulary; targets are absolute ids.
            guidance: w > 0 reads the batch as B conditional rows followed by their B unconditional ones, and
                answers for B rows with l = u + (w + 1)(c - u). The head is linear, so this is done before it.
            logit_chunk: positions whose logits are held at once.
            output_hidden_states: also return the stream after the embedding and each block.
            memory: keys and values of earlier passes; only its window is computed, and `positions` lie there.
        """
        hidden, streams = self.model(input_ids, attention_mask, positions, output_hidden_states, memory)
        if guidance:
            conditional, unconditional = hidden.chunk(2)
            hidden = unconditional + (guidance + 1) * (conditional - unconditional)
        weight = self.model.transformer["ff_out"].weight
        first, last = vocab or (0, len(weight))
        if (first, last) != (0, len(weight)):  # the gradient of a slice is a copy of the whole
            weight = weight[first:last]
        if targets is None:
            return DenoiserOutput(logits=F.linear(hidden, weight), hidden_states=streams or None)
        log_probs, entropy = token_log_probs(hidden, weight, targets - first, logit_chunk)
        return DenoiserOutput(log_probs=log_probs, entropy=entropy)
