"""The MAGVIT-v2 image tokenizer (arXiv 2310.05737): pictures to codes and back, in the published tensor names.

Shapes: B pictures, H x W pixels, h x w codes, N = h w, C channels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.models.loading import load_tensors, read_config
from maskgrpo_cli.models.lookup_free import LookupFreeQuantizer, entropy_loss, quantizer_loss
from maskgrpo_cli.models.magvit_config import MagvitConfig


@dataclass
class MagvitOutput:
    """A training pass of the tokenizer."""

    reconstruction: Tensor  # [B, 3, H, W]
    channels: Tensor  # [B, C, h, w], whose signs are the codes
    quantizer_loss: Tensor
    entropy_loss: Tensor


class ResidualBlock(nn.Module):
    """x + conv(swish(norm(conv(swish(norm(x)))))), with a 1x1 shortcut where the channels change."""

    def __init__(self, config: MagvitConfig, before: int, after: int):
        super().__init__()
        self.norm1, self.norm2 = _norm(config, before), _norm(config, after)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, h, w] -> [B, after, h, w]."""
        inner = self.conv1(F.silu(self.norm1(x)))
        return self.nin_shortcut(x) + self.conv2(F.silu(self.norm2(inner)))


class AttentionBlock(nn.Module):
    """x + attention of every place to every place, one head."""

    def __init__(self, config: MagvitConfig, channels: int):
        super().__init__()
        self.norm = _norm(config, channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        normed = self.norm(x)
        q, k, v = (project(normed).flatten(2).transpose(1, 2) for project in (self.q, self.k, self.v))
        attended = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(attended.transpose(1, 2).unflatten(2, x.shape[2:]))


class Middle(nn.Module):
    """Residual block, attention, residual block."""

    def __init__(self, config: MagvitConfig, channels: int):
        super().__init__()
        self.block_1, self.block_2 = (ResidualBlock(config, channels, channels) for _ in range(2))
        self.attn_1 = AttentionBlock(config, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        return self.block_2(self.attn_1(self.block_1(x)))


class Downsample(nn.Module):
    """A 3x3 convolution with stride 2, padded by one zero at the right and below."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h / 2, w / 2]."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Each place twice in both directions, then a 3x3 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, 2 h, 2 w]."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The residual blocks of one resolution; whoever holds it adds `downsample` or `upsample`."""

    def __init__(self, config: MagvitConfig, before: int, after: int, blocks: int):
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(config, before if i == 0 else after, after) for i in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, h, w] -> [B, after, h, w]."""
        for block in self.block:
            x = block(x)
        return x


class Encoder(nn.Module):
    """Pictures [B, 3, H, W] to the channels whose signs are the code, [B, C, h, w]."""

    def __init__(self, config: MagvitConfig):
        super().__init__()
        side, bits = config.encoder, config.codebook_dim
        before, self.down = (side.ch, *side.channels), nn.ModuleList()
        self.conv_in = nn.Conv2d(3, side.ch, 3, padding=1)
        for level, (channels, blocks) in enumerate(zip(side.channels, side.num_res_blocks, strict=True)):
            self.down.append(Level(config, before[level], channels, blocks))
            if level < len(side.channels) - 1:
                self.down[level].downsample = Downsample(channels)
        self.mid = Middle(config, side.channels[-1])
        self.norm_out = _norm(config, side.channels[-1])
        self.conv_out = nn.Conv2d(side.channels[-1], bits, 3, padding=1)
        self.quant_conv = nn.Conv2d(bits, bits, 1)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, C, h, w]."""
        x = self.conv_in(images)
        for level in self.down:
            x = level(x)
            if hasattr(level, "downsample"):
                x = level.downsample(x)
        return self.quant_conv(self.conv_out(F.silu(self.norm_out(self.mid(x)))))


class Decoder(nn.Module):
    """Signs [B, C, h, w] to pictures [B, 3, H, W]."""

    def __init__(self, config: MagvitConfig):
        super().__init__()
        side, bits = config.decoder, config.codebook_dim
        before = (*side.channels[1:], side.channels[-1])  # levels run from the coarsest, which is the last
        self.post_quant_conv = nn.Conv2d(bits, bits, 1)
        self.conv_in = nn.Conv2d(bits, side.channels[-1], 3, padding=1)
        self.mid, self.up = Middle(config, side.channels[-1]), nn.ModuleList()
        for level, (channels, blocks) in enumerate(zip(side.channels, side.num_res_blocks, strict=True)):
            self.up.append(Level(config, before[level], channels, blocks))
            if level:
                self.up[level].upsample = Upsample(channels)
        self.norm_out = _norm(config, side.channels[0])
        self.conv_out = nn.Conv2d(side.channels[0], 3, 3, padding=1)

    def forward(self, signs: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, 3, H, W]."""
        x = self.mid(self.conv_in(self.post_quant_conv(signs)))
        for level in reversed(self.up):
            x = level(x)
            if hasattr(level, "upsample"):
                x = level.upsample(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class MagvitModel(nn.Module):
    """Encoder, quantiser and decoder; pictures have values in [-1, 1]."""

    def __init__(self, config: MagvitConfig):
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quantize = LookupFreeQuantizer(config.codebook_dim)

    @property
    def factor(self) -> int:
        """Pixels of a code's side."""
        return self.config.factor

    @property
    def codebook_size(self) -> int:
        """Number of codes."""
        return self.config.codebook_size

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] on any device -> codes [B, N], row by row, on the model's.

        Raises:
            UserError: the sides are no multiples of a code's.
        """
        height, width = images.shape[-2:]
        if height % self.factor or width % self.factor or not height or not width:
            raise UserError(
                f"a picture of {width}x{height} pixels cannot be encoded: both sides must be multiples of {self.factor}"
            )
        return self.quantize.codes(self.encoder(images.to(self._weight)))

    @torch.no_grad()
    def decode(self, codes: Tensor, shape: tuple[int, int]) -> Tensor:
        """Codes [B, N] on any device -> pictures [B, 3, H, W] float32, not clamped, on the model's.

        Args:
            codes: in [0, codebook size).
            shape: rows and columns of codes.
        """
        signs = self.quantize.entries(codes.to(self._weight.device), shape)
        return self.decoder(signs.to(self._weight.dtype)).float()

    def forward(self, images: Tensor) -> MagvitOutput:
        """Reconstruct pictures [B, 3, H, W], with the quantiser's losses, to train the tokenizer."""
        z = self.encoder(images.to(self._weight))
        return MagvitOutput(self.decoder(self.quantize(z)), z, quantizer_loss(z), entropy_loss(z))

    @property
    def _weight(self) -> Tensor:
        return self.encoder.conv_in.weight

    @classmethod
    def from_folder(cls, folder: Path, dtype: torch.dtype = torch.float32) -> MagvitModel:
        """The tokenizer in a folder with config.json and safetensors, in `dtype` and evaluation mode.

        Raises:
            UserError: another kind of model, or tensors that are missing, unknown or of other shapes.
        """
        config = MagvitConfig.from_dict(read_config(folder))
        model = cls(config)
        derived = {name: tensor.clone() for name, tensor in model.state_dict().items() if name.startswith("quantize.")}
        load_tensors(model, folder, optional=derived.keys())
        for name, tensor in model.state_dict().items():
            if name in derived and not torch.equal(tensor, derived[name]):
                raise UserError(f"model '{folder}': {name} numbers the codes in another way than MAGVIT-v2")
        return model.to(dtype).eval()

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors, as `from_folder` reads them."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config.to_dict(), indent=2) + "\n")
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _norm(config: MagvitConfig, channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(config.group_norm_groups, channels, config.group_norm_eps)
