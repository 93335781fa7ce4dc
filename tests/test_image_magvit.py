"""The MAGVIT-v2 image tokenizer against golden numbers, its files, and a small one that learns."""

import json
from functools import cache

import pytest
import torch
from parity import GOLDEN, table, tensors
from safetensors.torch import load_file, save_file

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.models.loading import load_tensors, locate
from maskgrpo_cli.models.lookup_free import LookupFreeQuantizer, entropy_loss, quantizer_loss
from maskgrpo_cli.models.magvit import MagvitModel
from maskgrpo_cli.models.magvit_config import MagvitConfig, Side

FOLDER = GOLDEN / "magvit"
IO = tensors("magvit/io")
TINY = MagvitConfig(
    encoder=Side(8, (1, 2), (1, 1)), decoder=Side(8, (2, 1), (1, 2)), codebook_dim=6, group_norm_groups=4
)


@cache
def golden() -> MagvitModel:
    return MagvitModel.from_folder(FOLDER)


def tiny(seed: int = 0) -> MagvitModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MagvitModel(TINY).eval()


# --- parity -------------------------------------------------------------------------------------------


@torch.no_grad()
def test_what_the_encoder_says():
    z = golden().encoder(IO["images"])
    torch.testing.assert_close(z, IO["encoder_output"], atol=1e-4, rtol=0)
    torch.testing.assert_close(golden().quantize(z), IO["quantized"], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("images", "codes"), [("images", "code_indices"), ("rect_images", "rect_code_indices")])
def test_codes_are_exact(images, codes):
    assert torch.equal(golden().encode(IO[images]), IO[codes])


@pytest.mark.parametrize(
    ("codes", "shape", "pixels"),
    [
        ("code_indices", (4, 4), "decoded_from_code"),
        ("random_codes", (4, 4), "decoded_random"),
        ("rect_codes", (2, 3), "decoded_rect"),
    ],
)
def test_pixels_are_the_published_ones(codes, shape, pixels):
    torch.testing.assert_close(golden().decode(IO[codes], shape), IO[pixels], atol=1e-4, rtol=0)


def test_entries_of_the_codebook():
    assert torch.equal(golden().quantize.entries(IO["codebook_probe"], (2, 2)), IO["codebook_entries"])


def test_losses_of_the_quantiser():
    z = IO["encoder_output"]
    torch.testing.assert_close(quantizer_loss(z), IO["quantizer_loss"], atol=1e-6, rtol=0)
    torch.testing.assert_close(entropy_loss(z), IO["entropy_loss"], atol=1e-6, rtol=0)


def test_the_full_size_model_has_exactly_the_published_tensors():
    with torch.device("meta"):
        model = MagvitModel(MagvitConfig())
    published = {name: (shape, dtype) for name, (shape, dtype) in table("magvit/full_model_tensors")["tensors"].items()}
    ours = {name: (list(x.shape), str(x.dtype).removeprefix("torch.")) for name, x in model.state_dict().items()}
    assert ours == published
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == table("magvit/full_model_tensors")["total_parameters"]
    assert 512 // model.factor == 32 and model.codebook_size == 8192


# --- the code -----------------------------------------------------------------------------------------


def test_the_first_channel_is_the_most_significant_bit():
    quantizer = LookupFreeQuantizer(3)
    z = torch.tensor([0.1, -0.1, 2.0]).view(1, 3, 1, 1)
    assert quantizer.codes(z).tolist() == [[0b101]]
    assert quantizer.embedding.tolist()[0b101] == [1.0, -1.0, 1.0]
    assert quantizer.codes(torch.zeros(1, 3, 1, 1)).tolist() == [[0]]  # zero is not above zero


def test_codes_survive_a_round_trip_through_their_signs():
    quantizer = LookupFreeQuantizer(6)
    codes = torch.arange(64).view(2, 32)
    assert torch.equal(quantizer.codes(quantizer.entries(codes, (4, 8))), codes)


def test_losses_by_hand():
    z = torch.tensor([0.5, -2.0]).view(1, 1, 1, 2)  # distances to the signs: 0.5 and 1
    assert quantizer_loss(z).item() == pytest.approx(0.1 * 1.25 * (0.25 + 1.0) / 2)
    spread = torch.tensor([100.0, -100.0]).view(2, 1, 1, 1)  # sure of itself, and both signs equally often
    assert entropy_loss(spread).item() == pytest.approx(-0.1 * 0.6931472, abs=1e-6)
    assert entropy_loss(torch.zeros(2, 1, 1, 1)).item() == pytest.approx(0, abs=1e-7)  # unsure, equally often


def test_gradients_are_finite_where_bits_never_change():
    z = torch.full((2, 3, 2, 2), 1e4, requires_grad=True)
    (quantizer_loss(z) + entropy_loss(z)).backward()
    assert z.grad.isfinite().all()


def test_the_gradient_passes_the_quantiser():
    z = torch.tensor([0.3, -0.7]).view(1, 1, 1, 2).requires_grad_()
    (LookupFreeQuantizer(1)(z) * torch.tensor([2.0, 5.0])).sum().backward()
    assert z.grad.flatten().tolist() == [2.0, 5.0]


def test_a_small_tokenizer_learns_its_pictures():
    colours = torch.tensor([[-1.0, -1, -1], [1, -1, -1], [-1, 1, 1], [1, 1, 1]])
    cells = torch.randint(4, (8, 4, 4), generator=torch.Generator().manual_seed(0))
    images = colours[cells].permute(0, 3, 1, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    model = tiny().train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)

    def loss_of(output) -> torch.Tensor:
        return torch.nn.functional.mse_loss(output.reconstruction, images)

    before = loss_of(model(images)).item()
    for _ in range(40):
        output = model(images)
        optimiser.zero_grad()
        (loss_of(output) + output.quantizer_loss + output.entropy_loss).backward()
        optimiser.step()
    after = (model.eval().decode(model.encode(images), (4, 4)) - images).square().mean().item()
    assert after < 0.2 * before  # about 0.1 of 1.1; the best single colour would leave 0.9


@pytest.mark.parametrize("size", [(3, 8), (8, 5), (1, 1)])
def test_sides_that_are_no_multiple_of_a_code_are_refused(size):
    with pytest.raises(UserError, match=f"{size[1]}x{size[0]} pixels cannot be encoded.*multiples of 2"):
        tiny().encode(torch.zeros(1, 3, *size))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_dtypes_give_float32_pictures(tmp_path, dtype):
    tiny().save(tmp_path)
    model = MagvitModel.from_folder(tmp_path, dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    pixels = model.decode(torch.arange(16)[None], (4, 4))
    assert pixels.dtype == torch.float32 and pixels.shape == (1, 3, 8, 8)
    torch.testing.assert_close(pixels, tiny().decode(torch.arange(16)[None], (4, 4)), atol=0.1, rtol=0)
    assert model.encode(pixels).shape == (1, 16)


# --- files --------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    tiny().save(tmp_path / "tiny")
    return tmp_path / "tiny"


def changed(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def test_what_is_saved_reads_back_to_the_bit(folder):
    model, again = tiny(), MagvitModel.from_folder(locate(str(folder)))
    assert again.config == model.config == TINY and not again.training
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in again.state_dict().items())


def test_the_golden_config_is_read():
    config = golden().config
    assert config.encoder == Side(32, (1, 1, 2, 1, 1), (1, 2, 1, 1, 1))
    assert (config.codebook_size, config.factor, config.group_norm_groups) == (8192, 16, 32)


def test_a_config_that_names_only_its_class_is_the_full_size_model():
    assert MagvitConfig.from_dict({"_class_name": "MAGVITv2", "_diffusers_version": "0.30.1"}) == MagvitConfig()


def test_weights_under_another_file_name_or_without_the_derived_tensors_are_read(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("quantize.")}
    names = sorted(kept)
    for part, file in ((names[:20], "a.safetensors"), (names[20:], "b.safetensors")):
        save_file({name: kept[name] for name in part}, folder / file)
    again = MagvitModel.from_folder(folder).state_dict()
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_shards_of_an_index_are_read_and_nothing_else(folder):
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    shards = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for file, held in shards.items():
        save_file({name: weights[name] for name in held}, folder / file)
    (folder / "model.safetensors").unlink()
    save_file({"other": torch.zeros(1)}, folder / "other.safetensors")
    places = {name: file for file, held in shards.items() for name in held}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    again = MagvitModel.from_folder(folder).state_dict()
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    (folder / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match="the weights cannot be read"):
        MagvitModel.from_folder(folder)


def rewritten(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("decoder.conv_in.bias"), r"1 tensors are missing, such as decoder\.conv_in\.bias"),
        (lambda w: w.update(more=torch.zeros(1)), "1 tensors have no place in this model, such as more"),
        (
            lambda w: w.update({"encoder.conv_in.bias": torch.zeros(9)}),
            r"1 tensors, such as encoder\.conv_in\.bias: \[9\], not \[8\]",
        ),
        (lambda w: w["quantize.embedding"].neg_(), r"quantize\.embedding numbers the codes in another way"),
    ],
)
def test_tensors_that_do_not_fit_are_one_message(folder, change, message):
    rewritten(folder, change)
    with pytest.raises(UserError, match=message) as told:
        MagvitModel.from_folder(folder)
    assert str(folder) in str(told.value) and "\n" not in str(told.value)


def test_a_config_of_other_sizes_than_the_tensors_is_one_message(folder):
    changed(folder, encoder={"ch": 8, "ch_mult": [1, 1], "num_res_blocks": [1, 1]})
    with pytest.raises(UserError, match="tensors have no place|of another shape"):
        MagvitModel.from_folder(folder)


def test_damaged_weights_are_one_message(folder):
    (folder / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(UserError, match="the weights cannot be read"):
        MagvitModel.from_folder(folder)


def test_tensors_are_copied_into_any_module(folder):
    module = torch.nn.Linear(2, 2)
    save_file({"weight": torch.eye(2), "bias": torch.zeros(2)}, folder / "model.safetensors")
    load_tensors(module, folder)
    assert torch.equal(module(torch.tensor([3.0, 4.0])), torch.tensor([3.0, 4.0]))


SIDE = {"ch": 8, "ch_mult": [1, 2], "num_res_blocks": [1, 1]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "llada"}, "model_type 'llada' is no image tokenizer; it must be 'magvitv2'"),
        ({"_class_name": "VQModel"}, "_class_name 'VQModel' is no image tokenizer"),
        ({"encoder": SIDE}, "encoder and decoder: write as many"),
        ({"encoder": SIDE | {"ch_mult": [1, 2, 2]}, "decoder": SIDE}, "encoder and decoder: write as many"),
        ({"encoder": SIDE, "decoder": SIDE}, "encoder: 8 channels do not divide into group_norm_groups = 32"),
        ({"encoder": {"ch": 8}}, r"encoder = \{'ch': 8\}: write ch"),
        ({"encoder": 3}, "encoder = 3: write ch"),
        (
            {"encoder": SIDE | {"num_res_blocks": [0, 1]}, "decoder": SIDE, "group_norm_groups": 4},
            r"encoder: num_res_blocks = \(0, 1\): write 1 or more each",
        ),
        ({"codebook_dim": "13"}, "codebook_dim = '13': write a whole number above 0"),
        ({"codebook_dim": 30}, "codebook_dim = 30: write 1 to 24"),
        ({"group_norm_groups": 0}, "group_norm_groups = 0: write a whole number above 0"),
        ({"group_norm_eps": -1}, "group_norm_eps = -1: write a number above 0"),
        ({"codebook_size": 4096}, "codebook_size = 4096 is not 2 to codebook_dim = 13"),
        ({"encoder_defaults": {"double_z": True}}, "encoder_defaults.double_z = True: only False"),
        ({"encoder_defaults": {"z_channels": 8}}, "encoder_defaults.z_channels = 8: only 13"),
        ({"encoder_defaults": {"attn_resolutions": [16]}}, "attention at 16 pixels is not supported"),
    ],
)
def test_configs_that_fit_no_model_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        MagvitConfig.from_dict(values)
