"""The configuration of LLaDA-shaped models, in the published keys."""

from __future__ import annotations

from transformers import PretrainedConfig

from maskgrpo_cli.errors import UserError

# What the published configurations can say and this code computes; anything else is refused by name.
_ARCHITECTURE = {
    "activation_type": "silu",
    "alibi": False,
    "attention_layer_norm": False,
    "block_type": "llama",
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "rope": True,
    "scale_logits": False,
    "weight_tying": False,
}


class LLaDAConfig(PretrainedConfig):
    """The published configuration keys; unknown ones are kept and written back."""

    model_type = "llada"
    attribute_map = {
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "num_key_value_heads": "n_kv_heads",
        "intermediate_size": "mlp_hidden_size",
        "max_position_embeddings": "max_sequence_length",
    }

    def __init__(
        self,
        d_model=4096,
        n_layers=32,
        n_heads=32,
        n_kv_heads=None,
        mlp_hidden_size=12288,
        vocab_size=126464,
        embedding_size=None,
        max_sequence_length=4096,
        rope_theta=500000.0,
        rms_norm_eps=1e-5,
        mask_token_id=126336,
        eos_token_id=126081,
        pad_token_id=126081,
        attention_dropout=0.0,
        residual_dropout=0.0,
        embedding_dropout=0.0,
        init_std=0.02,
        **kwargs,
    ):
        self.d_model, self.n_layers, self.n_heads = d_model, n_layers, n_heads
        self.n_kv_heads = n_kv_heads or n_heads
        self.mlp_hidden_size, self.vocab_size = mlp_hidden_size, vocab_size
        self.embedding_size = embedding_size or vocab_size
        self.max_sequence_length = max_sequence_length
        self.rope_theta, self.rms_norm_eps = rope_theta, rms_norm_eps
        self.mask_token_id = mask_token_id
        self.attention_dropout, self.residual_dropout = attention_dropout, residual_dropout
        self.embedding_dropout, self.init_std = embedding_dropout, init_std
        for key, value in _ARCHITECTURE.items():
            if kwargs.setdefault(key, value) != value:
                raise UserError(f"config.json: {key} = {kwargs[key]!r} is not supported; this family has {value!r}")
        kwargs.setdefault("dtype", kwargs.pop("torch_dtype", None))
        super().__init__(eos_token_id=eos_token_id, pad_token_id=pad_token_id, **kwargs)

    def to_diff_dict(self) -> dict:
        """What config.json holds: the keys as published, so that other LLaDA code reads what is saved here."""
        published = super().to_diff_dict()
        published.setdefault("use_cache", False)
        published.setdefault("torch_dtype", published.get("dtype"))
        return published
