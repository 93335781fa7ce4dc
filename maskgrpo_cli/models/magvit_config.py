"""The configuration of a MAGVIT-v2 image tokenizer; the defaults are the full-size published model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from maskgrpo_cli.errors import UserError

MODEL_TYPE = "magvitv2"
# What the published configuration can say and this code computes; anything else is refused by name.
_ARCHITECTURE = {"in_ch": 3, "out_ch": 3, "double_z": False, "dropout": 0.0}


@dataclass(frozen=True)
class Side:
    """Encoder or decoder: one entry a level, the finest first."""

    ch: int  # channels, which `ch_mult` multiplies
    ch_mult: tuple[int, ...]
    num_res_blocks: tuple[int, ...]

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.ch * factor for factor in self.ch_mult)


@dataclass(frozen=True)
class MagvitConfig:
    """Shapes of the tokenizer.

    Args:
        encoder, decoder: channels and residual blocks of each level; a level halves the picture, the last does not.
        codebook_dim: bits of a code.
        group_norm_groups: groups of every GroupNorm, which must divide every level's channels.
        group_norm_eps: its epsilon.

    Raises:
        UserError: the numbers fit no model.
    """

    encoder: Side = field(default_factory=lambda: Side(128, (1, 2, 2, 4, 4), (4, 3, 4, 3, 4)))
    decoder: Side = field(default_factory=lambda: Side(128, (1, 1, 2, 2, 4), (4, 4, 3, 4, 3)))
    codebook_dim: int = 13
    group_norm_groups: int = 32
    group_norm_eps: float = 1e-6

    def __post_init__(self):
        sides = (("encoder", self.encoder), ("decoder", self.decoder))
        depths = {len(levels) for _, side in sides for levels in (side.ch_mult, side.num_res_blocks)}
        if len(depths) > 1 or 0 in depths:
            raise UserError("config.json: encoder and decoder: write as many ch_mult as num_res_blocks in both")
        for name, side in sides:
            if min(side.num_res_blocks) < 1:
                raise UserError(f"config.json: {name}: num_res_blocks = {side.num_res_blocks}: write 1 or more each")
            for channels in side.channels:
                if channels < 1 or channels % self.group_norm_groups:
                    raise UserError(
                        f"config.json: {name}: {channels} channels do not divide into group_norm_groups = "
                        f"{self.group_norm_groups}; make ch a multiple of it, or set fewer groups"
                    )
        if not 1 <= self.codebook_dim <= 24:
            raise UserError(f"config.json: codebook_dim = {self.codebook_dim}: write 1 to 24 bits a code")

    @property
    def codebook_size(self) -> int:
        """Number of codes: 2 to the bits of a code."""
        return 2**self.codebook_dim

    @property
    def factor(self) -> int:
        """Pixels of a code's side: 16 with five levels."""
        return 2 ** (len(self.encoder.ch_mult) - 1)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> MagvitConfig:
        """The configuration in config.json; keys that are absent have the published model's values.

        Raises:
            UserError: another kind of model, or one that this code does not compute.
        """
        _refuse_others(values)
        numbers = [name for name in ("codebook_dim", "group_norm_groups", "group_norm_eps") if name in values]
        sides = [name for name in ("encoder", "decoder") if name in values]
        config = cls(
            **{name: _number(name, values[name]) for name in numbers},
            **{name: _side(name, values[name]) for name in sides},
        )
        if (size := values.get("codebook_size", config.codebook_size)) != config.codebook_size:
            raise UserError(f"config.json: codebook_size = {size} is not 2 to codebook_dim = {config.codebook_dim}")
        shared = values.get("encoder_defaults", {})
        for key, value in (_ARCHITECTURE | {"z_channels": config.codebook_dim}).items():
            if shared.get(key, value) != value:
                raise UserError(f"config.json: encoder_defaults.{key} = {shared[key]!r}: only {value!r} is supported")
        sizes = {shared.get("resolution", 256) // 2**level for level in range(len(config.encoder.ch_mult))}
        if reached := sizes & set(shared.get("attn_resolutions", ())):
            raise UserError(
                f"config.json: encoder_defaults.attn_resolutions: attention at {min(reached)} pixels is not supported; "
                "it exists in the middle only"
            )
        return config

    def to_dict(self) -> dict[str, Any]:
        """What config.json holds."""
        return {"model_type": MODEL_TYPE, **asdict(self), "codebook_size": self.codebook_size}


def _refuse_others(values: dict[str, Any]) -> None:
    for key, own in (("model_type", MODEL_TYPE), ("_class_name", "MAGVITv2")):
        if values.get(key, own) != own:
            raise UserError(f"config.json: {key} '{values[key]}' is no image tokenizer; it must be '{own}'")


def _number(name: str, value: Any) -> int | float:
    whole = name != "group_norm_eps"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or value <= 0:
        raise UserError(f"config.json: {name} = {value!r}: write a {'whole ' if whole else ''}number above 0")
    return value


def _side(name: str, values: dict[str, Any]) -> Side:
    try:
        return Side(int(values["ch"]), tuple(map(int, values["ch_mult"])), tuple(map(int, values["num_res_blocks"])))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"config.json: {name} = {values!r}: write ch (a number), ch_mult and num_res_blocks (a list each)"
        ) from error
