"""HPSv2: its preprocessing by hand and as published, its formula, and where its weights come from."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tiny_clip
import torch
from clip_parts import hub_cache  # noqa: F401  a fixture
from hypothesis import given
from hypothesis import strategies as st
from parity import GOLDEN
from PIL import Image
from safetensors.torch import load_file
from tiny_clip import PROMPTS, SIDE

from maskgrpo_cli import registry
from maskgrpo_cli.engine.scoring import Rewards
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.rewards.hpsv2 import MEAN, STD, HPSv2, whole
from maskgrpo_cli.types import Problem

PUBLISHED = load_file(GOLDEN / "rewards" / "hpsv2_preprocess.safetensors")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A model with weights in a torch file as the published ones are."""
    folder = tiny_clip.save(tmp_path_factory.mktemp("hps") / "model")
    torch.save({"epoch": 1, "state_dict": load_file(folder / "open_clip_model.safetensors")}, folder / "HPS.pt")
    return folder


@pytest.fixture(scope="session")
def score(folder):
    return HPSv2(weights=str(folder / "HPS.pt"), model=f"local-dir:{folder}")


def refusal(**settings):
    with pytest.raises(UserError) as caught:
        HPSv2(**settings)
    return str(caught.value)


def back(tensor):
    """A preprocessed picture in [0, 1] again, [H, W, 3]."""
    return (tensor * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)).permute(1, 2, 0).numpy()


# --- preprocessing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", PUBLISHED)
def test_pictures_are_seen_as_the_published_code_sees_them(size):
    """Made with hpsv2 1.2.0's own transform for pictures of 16 pixels."""
    height, width = map(int, size.split("x"))
    row, column, colour = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    picture = Image.fromarray(((7 * row + 13 * column + 29 * colour + row * column) % 256).astype(np.uint8))
    torch.testing.assert_close(whole(picture, 16), PUBLISHED[size], atol=1e-6, rtol=0)


def test_the_longer_side_fits_and_the_rest_is_black_on_both_sides():
    """20x50 becomes 6.4 = 6 rows of 16: 10 rows of padding, 5 above and 5 below."""
    seen = back(whole(Image.new("RGB", (50, 20), (255, 51, 0)), 16))
    assert seen.shape == (16, 16, 3)
    np.testing.assert_allclose(seen[5:11], np.broadcast_to([1.0, 0.2, 0.0], (6, 16, 3)), atol=1e-5)
    np.testing.assert_allclose(seen[[*range(5), *range(11, 16)]], 0, atol=1e-6)


def test_the_odd_pixel_of_padding_comes_last():
    """10x16 in 17 columns: 10 * 17 / 16 = 10.6 = 11 columns of 17 rows; 3 on the left, 3 on the right, or 2 and 3."""
    seen = back(whole(Image.new("RGB", (10, 16), "white"), 17))
    assert (seen[8, :, 0] > 0.5).tolist() == [False] * 3 + [True] * 11 + [False] * 3
    seen = back(whole(Image.new("RGB", (12, 16), "white"), 16))
    assert (seen[8, :, 0] > 0.5).tolist() == [False] * 2 + [True] * 12 + [False] * 2
    seen = back(whole(Image.new("RGB", (11, 16), "white"), 16))
    assert (seen[8, :, 0] > 0.5).tolist() == [False] * 2 + [True] * 11 + [False] * 3


def test_a_picture_that_fits_is_not_touched_and_a_narrow_one_only_padded():
    pixels = tiny_clip.noise(16, 16)
    np.testing.assert_allclose(back(whole(Image.fromarray(pixels), 16)), pixels / 255, atol=1e-6)
    seen = back(whole(Image.fromarray(pixels[:, :4]), 16))
    np.testing.assert_allclose(seen[:, 6:10], pixels[:, :4] / 255, atol=1e-6)


@given(st.integers(1, 70), st.integers(1, 70))
def test_any_picture_becomes_a_square_that_shows_all_of_it(height, width):
    seen = back(whole(Image.new("RGB", (width, height), "white"), 16))
    shown = seen[..., 0] > 0.5
    rows, columns = max(1, round(16 * height / max(height, width))), max(1, round(16 * width / max(height, width)))
    assert seen.shape == (16, 16, 3) and np.isfinite(seen).all()
    assert shown.sum() == rows * columns and shown.any(1).sum() == rows


# --- the score ----------------------------------------------------------------------------------------


def test_the_dot_product_of_normalised_features_without_a_temperature(folder, score):
    model, _, tokenize = tiny_clip.reference(folder)
    model.logit_scale.data.fill_(5.0)  # which the score does not use
    wanted = tiny_clip.cosines(model, tokenize, PROMPTS, [whole(picture, SIDE) for picture in tiny_clip.pictures()])
    found = score(prompts=PROMPTS, completions=tiny_clip.pictures(), other=[1] * 4)
    assert found == pytest.approx(wanted, abs=1e-6) and len(set(found)) == 4
    assert registry.resolve("reward", "hpsv2") is HPSv2


def test_the_whole_picture_counts_where_the_clip_score_cuts_it(folder, score):
    from maskgrpo_cli.rewards.clip import ClipScore

    pixels = tiny_clip.noise(32, 96)
    other = pixels.copy()
    other[:, :8] = 0  # outside the middle square
    clip = ClipScore(f"local-dir:{folder}")
    assert clip(PROMPTS[:1], [pixels]) == clip(PROMPTS[:1], [other])
    assert score(PROMPTS[:1], [pixels]) != score(PROMPTS[:1], [other])


@pytest.mark.parametrize("size", [1, 3])
def test_batches_change_no_score(folder, score, size):
    other = HPSv2(weights=str(folder / "HPS.pt"), model=f"local-dir:{folder}", batch_size=size)
    assert other(PROMPTS, tiny_clip.pictures()) == pytest.approx(score(PROMPTS, tiny_clip.pictures()), abs=1e-6)
    assert other([], []) == []


def test_through_the_engine(folder, score):
    settings = {"hpsv2": {"weights": str(folder / "HPS.pt"), "model": f"local-dir:{folder}"}}
    rewards = Rewards({"hpsv2": 1.0}, pytest.fail, settings, torch.device("cpu"), True)
    problems = [Problem(str(i), ({"role": "user", "content": prompt},), {}) for i, prompt in enumerate(PROMPTS)]
    found = rewards(problems, tiny_clip.pictures())
    assert found.total.tolist() == pytest.approx(score(PROMPTS, tiny_clip.pictures()), abs=1e-6)


def test_no_picture(score):
    with pytest.raises(ValueError, match="not str"):
        score(["a"], ["b"])


# --- where its weights come from ------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "file"), [
    ({}, "HPS_v2.1_compressed.pt"), ({"version": "v2.1"}, "HPS_v2.1_compressed.pt"),
    ({"version": "v2"}, "HPS_v2_compressed.pt"),
])
def test_the_published_files_are_found_in_the_cache(hub_cache, folder, version, file):  # noqa: F811
    found = tiny_clip.cached(hub_cache, "xswu/HPSv2", {file: folder / "HPS.pt"})
    told = refusal(**version, offline=True)  # these are no published weights, and so found but not taken
    assert told.startswith(f"weights = '{found / file}': these are not the weights of ViT-H-14: ")
    other = refusal(version="v2.1" if version == {"version": "v2"} else "v2", offline=True)
    assert "is not in the local cache, and --offline is set" in other


@pytest.mark.parametrize(("settings", "told"), [
    ({"version": "v3"}, "version = 'v3': write one of v2, v2.1"), ({"version": 2.1}, "version = 2.1: write one of"),
    ({"model": "ViT-B-32"}, "model = 'ViT-B-32': the published weights are of ViT-H-14; give yours as weights"),
    ({"weights": "none.pt"}, "weights = 'none.pt': there is no such file"),
    ({"weights": ""}, "weights = '': write text"),
    ({"model": "ViT-H14", "weights": "a.pt"}, "did you mean 'ViT-H-14'?"),
    ({"offline": True}, "HPS_v2.1_compressed.pt of xswu/HPSv2 is not in the local cache, and --offline is set\n"
                        "  get the file and write weights=path/to/HPS_v2.1_compressed.pt"),
])
def test_settings_that_are_wrong(settings, told, hub_cache, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    assert told in refusal(**settings)


def test_a_model_that_looks_at_other_shapes(tmp_path):
    folder = tiny_clip.save(tmp_path, config=tiny_clip.shape(image_size=[32, 64]))
    told = refusal(weights=str(folder / "open_clip_model.safetensors"), model=f"local-dir:{folder}")
    assert "it looks at pictures of 64x32 pixels, not at squares" in told


def test_another_models_weights(folder):
    assert "these are not the weights of ViT-B-32" in refusal(weights=str(folder / "HPS.pt"), model="ViT-B-32")


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download asks for; remembers what it was asked."""

    files = {"HPS_v2.1_compressed.pt": b"weights", "README.md": b"text"}
    asked: list = []
    commit = "1" * 40

    def do_GET(self):
        self.asked.append((self.command, self.path))
        name = self.path.rpartition("/")[2].partition("?")[0]
        if self.path.startswith("/api/models/xswu/HPSv2/tree/"):
            entries = [f'{{"type": "file", "path": "{file}", "size": {len(raw)}, "oid": "{"2" * 40}"}}'
                       for file, raw in self.files.items()]
            self.reply(200, f"[{', '.join(entries)}]".encode())
        elif self.path.startswith("/api/models/xswu/HPSv2/"):
            siblings = ", ".join(f'{{"rfilename": "{file}"}}' for file in self.files)
            self.reply(200, f'{{"id": "xswu/HPSv2", "sha": "{self.commit}", "siblings": [{siblings}]}}'.encode())
        elif self.path.startswith("/xswu/HPSv2/resolve/") and name in self.files:
            self.reply(200, self.files[name], **{"X-Repo-Commit": self.commit, "ETag": f'"{name}"'})
        else:
            self.reply(404, b"{}", **{"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def reply(self, code, body, **headers):
        self.send_response(code)
        for key, value in {"Content-Length": len(body), "Content-Type": "application/json", **headers}.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def fetched(tmp_path, endpoint, *calls):
    """What a process with its own cache prints of `fetch_one(*call)`."""
    script = ("from maskgrpo_cli.errors import UserError; from maskgrpo_cli.rewards.hub import fetch_one\n"
              f"for repository, names, offline in {list(calls)!r}:\n"
              "    try: print(fetch_one(repository, names, 'weights=FILE', offline=offline))\n"
              "    except UserError as error: print('TOLD', str(error).replace(chr(10), '|'))\n")
    import os

    env = {**{key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")},
           "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_download_and_what_it_says_when_there_is_none(tmp_path, hub):
    """Over HTTP from a hub in this process: the wanted file alone, once; offline from the cache, without asking."""
    published = ("xswu/HPSv2", ["HPS_v2.1_compressed.pt"])
    others = ("xswu/HPSv2", ["no.pt"], False), ("xswu/none", ["a"], False)
    first, none, nowhere = fetched(tmp_path, hub, (*published, False), *others)
    assert Path(first).read_bytes() == b"weights"
    assert not any("README" in path for _, path in Hub.asked)
    assert [command for command, path in Hub.asked if "resolve" in path].count("GET") == 1
    before = len(Hub.asked)
    assert fetched(tmp_path, hub, (*published, True)) == [first] and len(Hub.asked) == before
    assert none.startswith("TOLD no.pt of xswu/HPSv2 is not to be had") and none.endswith("write weights=FILE")
    assert nowhere.startswith("TOLD xswu/none: the hub answered: 404 Client Error. ")
    assert "Repository Not Found" in nowhere and nowhere.endswith("|  or write weights=FILE")


def test_without_a_network_it_says_so_at_once(tmp_path):
    (told,) = fetched(tmp_path, "http://127.0.0.1:9", ("xswu/HPSv2", ["HPS_v2.1_compressed.pt"], False))
    assert told.startswith("TOLD HPS_v2.1_compressed.pt of xswu/HPSv2 is not to be had")
    assert told.endswith("write weights=FILE")
