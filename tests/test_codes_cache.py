"""Image codes on disk: found again where nothing has changed, never where anything has."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from parity import GOLDEN
from picture_files import image, write
from PIL import Image

from maskgrpo_cli.engine import code_shelf, codes
from maskgrpo_cli.engine.codes import cached_answers, code_folder, picture_answers, picture_key
from maskgrpo_cli.errors import Interrupted, UserError
from maskgrpo_cli.modalities.image import ImageModality, as_pixels
from maskgrpo_cli.models.loading import load_tokenizer
from maskgrpo_cli.models.magvit import MagvitModel
from maskgrpo_cli.models.magvit_config import MagvitConfig, Side
from maskgrpo_cli.tasks import shapes
from maskgrpo_cli.tasks.captions import CAPTIONS
from maskgrpo_cli.tasks.shapes import SHAPES

TOKENIZER = load_tokenizer(GOLDEN / "mmada")
L = 16


def tokenizer(seed=0, bits=6):
    side = Side(4, (1, 1), (1, 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MagvitModel(MagvitConfig(side, side, codebook_dim=bits, group_norm_groups=2)).eval()


def modality(pictures=None, rows=192, **options):
    return ImageModality(TOKENIZER, 118, rows, pictures=pictures or tokenizer(), **options)


class Pictures:
    """Pictures that count how often each is opened."""

    def __init__(self, count=10):
        self.made = [image(20 * n, (9, 8)) for n in range(count)]
        self.opened = []

    def __call__(self, index):
        self.opened.append(index)
        return self.made[index]

    def codes(self, folder, own=None, count=None, key=str, length=L, **options):
        """The codes, and which pictures were opened for them."""
        self.opened.clear()
        count = len(self.made) if count is None else count
        found = cached_answers(own or modality(), key, count, self, length, folder, **options)
        return found, sorted(self.opened)

    def expected(self, own=None, length=L):
        return (own or modality()).answers(self.made, length)


def files(folder):
    return sorted(folder.rglob("*.safetensors"))


# --- found again --------------------------------------------------------------------------------------


def test_codes_are_those_of_the_modality_and_found_again(tmp_path):
    pictures = Pictures()
    first, opened = pictures.codes(tmp_path)
    assert opened == [*range(10)] and first.shape == (10, L) and first.dtype == torch.int32
    assert torch.equal(first.long(), pictures.expected()) and len(set(map(tuple, first.tolist()))) > 1
    again, opened = pictures.codes(tmp_path)
    assert opened == [] and torch.equal(again, first)


def test_only_new_pictures_are_encoded(tmp_path):
    pictures = Pictures()
    pictures.codes(tmp_path, count=4)
    some, opened = pictures.codes(tmp_path)
    assert opened == [4, 5, 6, 7, 8, 9] and torch.equal(some.long(), pictures.expected())
    some, opened = pictures.codes(tmp_path, key=lambda n: str(n % 3))
    assert opened == [] and torch.equal(some[:6].long(), pictures.expected()[[0, 1, 2, 0, 1, 2]])


def test_equal_keys_are_encoded_once():
    pictures = Pictures()
    found, opened = pictures.codes(None, key=lambda n: "even" if n % 2 == 0 else f"odd {n}")
    assert opened == [0, 1, 3, 5, 7, 9] and torch.equal(found[::2], found[:1].expand(5, -1))
    assert torch.equal(found[1::2].long(), pictures.expected()[1::2])


def test_nothing_is_written_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pictures = Pictures()
    found, opened = pictures.codes(None)
    assert len(opened) == 10 and torch.equal(found.long(), pictures.expected()) and not [*tmp_path.iterdir()]


def test_no_pictures_at_all(tmp_path):
    assert Pictures(0).codes(tmp_path)[0].shape == (0, L)


def test_keys_are_the_same_in_every_process():
    """Pinned: another way of hashing would lose every code that lies on disk."""
    assert code_shelf.hashed("key", "a").hex() == "72e2939399a0fc026e850488e854522a"
    assert len({code_shelf.hashed(*parts) for parts in (("a", "b"), ("ab",), ("a", "b", ""), (b"b", b"a"))}) == 4


# --- anything that has changed ------------------------------------------------------------------------


def test_another_tokenizer_misses(tmp_path):
    pictures = Pictures()
    pictures.codes(tmp_path)
    other = tokenizer()
    with torch.no_grad():
        other.encoder.conv_out.bias[0] += 1e-3  # one weight, a little
    for changed in (tokenizer(1), other, tokenizer(bits=5), tokenizer().double()):
        found, opened = pictures.codes(tmp_path, modality(changed))
        assert len(opened) == 10 and torch.equal(found.long(), pictures.expected(modality(changed)))
    assert pictures.codes(tmp_path)[1] == []


def test_the_same_tokenizer_from_another_folder_is_the_same(tmp_path):
    pictures = Pictures(2)
    pictures.codes(tmp_path / "codes")
    tokenizer().save(tmp_path / "tokenizer")
    assert pictures.codes(tmp_path / "codes", modality(MagvitModel.from_folder(tmp_path / "tokenizer")))[1] == []


def test_another_size_or_preparation_misses(tmp_path, monkeypatch):
    pictures = Pictures(2)
    pictures.codes(tmp_path)
    assert len(pictures.codes(tmp_path, length=9)[1]) == 2
    for shape in ((2, 8), (8, 2)):
        found, opened = pictures.codes(tmp_path, modality(shape=shape))
        assert len(opened) == 2 and torch.equal(found.long(), pictures.expected(modality(shape=shape)))
    monkeypatch.setattr(codes, "PREPARATION", codes.PREPARATION + 1)
    assert len(pictures.codes(tmp_path)[1]) == 2


def test_the_preparation_is_the_one_that_is_numbered():
    """Where this changes, `codes.PREPARATION` has to be raised: codes on disk are of pictures as they were prepared."""
    shades = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    pixels = (as_pixels(Image.fromarray(np.stack([shades] * 3, axis=-1)), (2, 2)) + 1) * 127.5
    assert codes.PREPARATION == 1 and (pixels[0] - torch.tensor([[38.0, 72.0], [148.0, 182.0]])).abs().max() <= 1


def test_another_text_tokenizer_shifts_the_same_codes(tmp_path):
    pictures = Pictures(2)
    first, _ = pictures.codes(tmp_path)
    longer = load_tokenizer(GOLDEN / "mmada")
    longer.add_tokens(["one", "two"])
    found, opened = pictures.codes(tmp_path, ImageModality(longer, 118, 200, pictures=tokenizer()))
    assert opened == [] and torch.equal(found, first + len(longer) - len(TOKENIZER))


def test_pictures_without_a_key_are_known_by_their_pixels(tmp_path):
    pictures = Pictures(3)
    first, opened = pictures.codes(tmp_path, key=lambda n: None)
    assert opened == [0, 0, 1, 1, 2, 2]
    pictures.made[1] = np.asarray(image(77, (9, 8)))
    found, opened = pictures.codes(tmp_path, key=lambda n: None)
    assert opened == [0, 1, 1, 2] and torch.equal(found[[0, 2]], first[[0, 2]])
    pictures.made[2] = pictures.made[2].resize((8, 9))
    assert pictures.codes(tmp_path, key=lambda n: None)[1] == [0, 1, 2, 2]


def test_codes_beyond_two_bytes(tmp_path):
    own = modality(tokenizer(bits=17), rows=200_000)
    pictures = Pictures(3)
    first, _ = pictures.codes(tmp_path, own)
    assert int(first.max()) > 2**16 + len(TOKENIZER) and torch.equal(first.long(), pictures.expected(own))
    assert torch.equal(pictures.codes(tmp_path, own)[0], first) and pictures.opened == []


# --- tasks --------------------------------------------------------------------------------------------


def test_files_that_change_are_encoded_anew(tmp_path):
    folder = write(tmp_path / "data", {"a.png": 10, "a.txt": "a", "b.png": 200, "b.txt": "b"})

    def run():
        problems = CAPTIONS.load(str(folder), "train")
        done = []
        found = picture_answers(
            modality(), CAPTIONS, problems, L, tmp_path / "codes", progress=lambda n, of: done.append((n, of))
        )
        assert torch.equal(found.long(), modality().answers([CAPTIONS.picture(p) for p in problems], L))
        return done

    assert run() == [(2, 2)] and run() == []
    write(folder, {"b.png": 100})
    os.utime(folder / "b.png", ns=(5, 5))
    assert run() == [(1, 1)] and run() == []
    write(folder, {"a.txt": "another caption"})
    assert run() == []


def test_drawn_pictures_are_known_by_what_is_drawn(tmp_path):
    problem = SHAPES.problem("train", 3)
    named = tmp_path / "p.jsonl"
    named.write_text('{"prompt": "a red circle"}\n')
    (other,) = SHAPES.load(str(named), "train")
    keys = [picture_key(SHAPES, *args) for args in ((problem,), (problem, 1), (SHAPES.problem("train", 4),), (other,))]
    assert len({*keys}) == 4 and keys[0] == picture_key(SHAPES, SHAPES.problem("train", 3))
    assert picture_key(SimpleNamespace(), problem) is None


def test_the_drawing_is_the_one_that_is_numbered():
    """Where this changes, `tasks.shapes.DRAWING` has to be raised."""
    drawn = [SHAPES.picture(SHAPES.problem("train", n), n).mean(axis=(0, 1)) for n in range(3)]
    expected = [[33.0, 27.3, 33.3], [30.8, 34.2, 40.4], [51.7, 48.2, 34.7]]
    assert shapes.DRAWING == 2 and np.abs(np.array(drawn) - expected).max() < 0.2


# --- damage, interruptions, many writers --------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "another", "header"])
def test_a_damaged_file_is_told_and_made_anew(tmp_path, damage):
    pictures = Pictures()
    first, _ = pictures.codes(tmp_path)
    (path,) = files(tmp_path)
    whole = bytearray(path.read_bytes())
    if damage == "flipped":
        whole[-7] ^= 1
    path.write_bytes({"cut": whole[:-1], "empty": b"", "another": b"x" * 99, "header": b"\xff" * 8 + whole}.get(
        damage, bytes(whole)))
    told = []
    found, opened = pictures.codes(tmp_path, warn=told.append)
    assert len(opened) == 10 and torch.equal(found, first)
    assert len(told) == 1 and path.name in told[0] and "encoded anew" in told[0]
    assert pictures.codes(tmp_path, warn=told.append)[1] == [] and len(told) == 1


def test_a_file_of_codes_of_another_shape_is_damaged(tmp_path):
    pictures = Pictures()
    pictures.codes(tmp_path)
    shelf = code_shelf.Shelf(files(tmp_path)[0].parent, print)
    shelf.add([b"k" * 16], np.zeros((1, L + 1), np.uint16))
    shelf.flush()
    told = []
    assert pictures.codes(tmp_path, warn=told.append)[1] == [] and len(told) == 1


def test_what_was_done_before_an_interruption_is_kept(tmp_path):
    pictures = Pictures()

    def stop(done, of):
        if done >= 8:
            raise Interrupted(2)

    with pytest.raises(Interrupted):
        pictures.codes(tmp_path, progress=stop)
    found, opened = pictures.codes(tmp_path)
    assert opened == [8, 9] and torch.equal(found.long(), pictures.expected())


def test_what_was_done_long_before_a_kill_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(code_shelf, "EVERY", 0.0)
    pictures = Pictures()
    seen = []
    pictures.codes(tmp_path, progress=lambda done, of: seen.append((done, of, len(files(tmp_path)))))
    assert seen == [(4, 10, 1), (8, 10, 2), (10, 10, 3)]


def test_files_hold_no_more_than_they_should(tmp_path, monkeypatch):
    monkeypatch.setattr(code_shelf, "LARGEST", 4)
    pictures = Pictures()
    pictures.codes(tmp_path, modality(batch_size=2))
    assert len(files(tmp_path)) == 3 and pictures.codes(tmp_path)[1] == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".safetensors"]


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(code_shelf, "EVERY", 0.0)
    (tmp_path / "file").write_text("")
    told = []
    pictures = Pictures()
    found, _ = pictures.codes(tmp_path / "file" / "codes", warn=told.append)
    assert torch.equal(found.long(), pictures.expected())
    assert len(told) == 1 and "image codes are not kept: " in told[0] and "Not a directory" in told[0]


def test_a_tokenizer_without_weights_is_not_remembered(tmp_path):
    class Shades:
        factor, codebook_size = 2, 64

        def encode(self, images):
            return ((images[:, 0, ::2, ::2] + 1) * 31).round().long().flatten(1)

    told = []
    own = modality(Shades())
    assert len(Pictures().codes(tmp_path, own, warn=told.append)[1]) == 10
    assert told == ["image codes are not kept: a Shades has no weights to know it by"] and not [*tmp_path.iterdir()]


WRITER = """
import sys
from pathlib import Path
import numpy as np
from maskgrpo_cli.engine.code_shelf import Shelf
told = []
shelf = Shelf(Path(sys.argv[1]), told.append)
for n in range(int(sys.argv[2]), 300, 2):  # every other key is that of two of the processes
    shelf.add([n.to_bytes(16, "big")], np.full((1, 4), n, np.uint16))
    shelf.flush()
    if n % 25 == 0:
        codes = np.zeros((300, 4), np.uint16)
        filled = shelf.fill({k.to_bytes(16, "big"): k for k in range(300)}, codes)
        assert n in filled and all((codes[k] == k).all() for k in filled)
assert told == [], told
"""


def test_many_processes_write_one_folder(tmp_path):
    started = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(n)]) for n in (0, 1, 0, 1)]
    assert [process.wait(timeout=120) for process in started] == [0, 0, 0, 0]
    found, told = np.zeros((300, 4), np.uint16), []
    shelf = code_shelf.Shelf(tmp_path, told.append)
    assert shelf.fill({n.to_bytes(16, "big"): n for n in range(300)}, found) == {*range(300)} and told == []
    assert (found == np.arange(300)[:, None]).all() and len(files(tmp_path)) == 300
    assert len([*tmp_path.iterdir()]) == 300, "no half-written file is left"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """What each of two processes saw that encode the same pictures, by case; see `two_encoders`."""
    folder, here = tmp_path_factory.mktemp("pair"), Path(__file__).parent
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(here / "two_encoders.py"), port, str(folder)],
                          env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


@needs_fork
@pytest.mark.parametrize("case, opened", [
    ("first", ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10])), ("again", ([], [])),
    ("nowhere", ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10])), ("own disks", ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10])),
    ("read-only", ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10])),
])
def test_two_processes_share_the_work_and_have_all_codes(pair, case, opened):
    expected = Pictures(11).expected().tolist()
    assert [seen[case]["codes"] for seen in pair] == [expected] * 2
    assert tuple(seen[case]["opened"] for seen in pair) == opened
    told = [len(seen[case]["told"]) for seen in pair]
    assert told == ([1, 0] if case == "read-only" else [0, 0])


@needs_fork
def test_two_processes_refuse_the_same_pictures(pair):
    messages = [seen["holes"]["refused"] for seen in pair]
    assert messages == ["2 of 11 pictures cannot be read\n  2 is no picture\n  9 is no picture"] * 2


# --- pictures that cannot be opened -------------------------------------------------------------------


def test_pictures_that_cannot_be_read_are_named_together_and_the_others_are_kept(tmp_path):
    files = {f"{n}.png": n if n % 5 else b"no picture" for n in range(40)}
    folder = write(tmp_path / "data", files | {f"{n}.txt": "x" for n in range(40)})
    problems = CAPTIONS.load(str(folder), "train")
    with pytest.raises(UserError) as raised:
        picture_answers(modality(), CAPTIONS, problems, L, tmp_path / "codes")
    lines = str(raised.value).split("\n")
    assert lines[0] == "8 of 40 pictures cannot be read" and lines[6] == "  and 3 more"
    assert lines[1].startswith(f"  {folder / '0.png'}: cannot be read as a picture") and "take it out" in lines[7]
    left = [problem for problem in problems if int(problem.id[9:-4]) % 5]
    done = []
    picture_answers(modality(), CAPTIONS, left, L, tmp_path / "codes", progress=lambda *n: done.append(n))
    assert done == []
    (folder / "0.png").unlink()
    with pytest.raises(UserError, match=r"^8 of 40 .*\n.*0\.png: cannot be read: No such file"):
        picture_answers(modality(), CAPTIONS, problems, L, tmp_path / "codes")


def test_one_picture_that_cannot_be_read(tmp_path):
    folder = write(tmp_path, {"a.png": b"", "a.txt": "x"})
    with pytest.raises(UserError, match=r"^/.*a\.png: cannot be read as a picture: .*\n  put another in its place"):
        picture_answers(modality(), CAPTIONS, CAPTIONS.load(str(folder), "train"), L, None)


# --- where they lie -----------------------------------------------------------------------------------


def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for base, expected in (
        ("/x/cache", Path("/x/cache/maskgrpo/codes")), ("", tmp_path / ".cache/maskgrpo/codes"),
        ("relative", tmp_path / ".cache/maskgrpo/codes"),
    ):
        monkeypatch.setenv("XDG_CACHE_HOME", base)
        assert code_folder("auto") == expected
    assert code_folder(None) is None and code_folder("~/codes") == tmp_path / "codes"
    assert code_folder("codes") == Path("codes")
