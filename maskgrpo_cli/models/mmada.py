"""MMaDA (arXiv 2505.15809): LLaDA with image tokens in its vocabulary, in the published checkpoint layout.

The blocks, the head and the tensor names are LLaDA's. Rows of the embedding: the text tokenizer's ids, then the
image codes from the tokenizer's length on, then rows without a token.
"""

from __future__ import annotations

from maskgrpo_cli.models.llada import LLaDAModelLM
from maskgrpo_cli.models.llada_config import LLaDAConfig


class MMadaConfig(LLaDAConfig):
    """LLaDA's keys, and what MMaDA adds to them.

    Args:
        codebook_size: image codes.
        num_vq_tokens: image tokens of one picture (1024: 512 x 512 pixels).
        llm_vocab_size: rows that the language model had.
        new_vocab_size: rows with the image codes.
    """

    model_type = "mmada"

    def __init__(
        self,
        codebook_size=8192,
        num_vq_tokens=1024,
        llm_vocab_size=126464,
        new_vocab_size=134656,
        vocab_size=None,
        **kwargs,
    ):
        self.codebook_size, self.num_vq_tokens = codebook_size, num_vq_tokens
        self.llm_vocab_size, self.new_vocab_size = llm_vocab_size, new_vocab_size
        super().__init__(vocab_size=vocab_size or new_vocab_size, **kwargs)


class MMadaModelLM(LLaDAModelLM):
    """The denoiser over text and image tokens; see `LLaDAModelLM.forward`."""

    config_class = MMadaConfig
