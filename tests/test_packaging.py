"""The wheel: what a user installs carries its recipes and its data, and runs far from a checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import maskgrpo_cli
from maskgrpo_cli.config import recipes

ROOT = Path(maskgrpo_cli.__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="needs a checkout")


def pip(*arguments) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), str(ROOT))
    return next(folder.glob("maskgrpo-*.whl"))


def test_the_wheel_holds_one_package_with_recipes_and_licence(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    information = f"maskgrpo-{maskgrpo_cli.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"maskgrpo_cli", information}
    assert {name for name in names if name.startswith("maskgrpo_cli/recipes/")} == {
        *(f"maskgrpo_cli/recipes/{name}.yaml" for name in recipes.names()),
        "maskgrpo_cli/recipes/code.md",
        "maskgrpo_cli/recipes/math.md",
        "maskgrpo_cli/recipes/text-to-image.md",
        "maskgrpo_cli/recipes/text-to-image.png",
        "maskgrpo_cli/recipes/text-to-image-grpo.png",
    }
    assert f"{information}/licenses/LICENSE" in names


def test_the_wheel_holds_every_file_of_the_package(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = [path for path in (ROOT / "maskgrpo_cli").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {path.relative_to(ROOT).as_posix() for path in files} <= packed


def test_an_installed_wheel_finds_its_own_recipes(wheel, tmp_path):
    site = tmp_path / "site"
    pip("install", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    # ahead of the checkout that the tests themselves run from
    env = {**os.environ, "PYTHONPATH": str(site)}
    script = "import maskgrpo_cli; print(maskgrpo_cli.__file__); from maskgrpo_cli.cli import main; main()"

    def maskgrpo(*arguments):
        return subprocess.run(
            [sys.executable, "-c", script, *arguments],
            capture_output=True, text=True, timeout=60, env=env, cwd=tmp_path,
        )  # fmt: skip

    done = maskgrpo("recipes", "list")
    origin, *lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert Path(origin).is_relative_to(site)
    assert [line.split()[0] for line in lines] == recipes.names()
    assert maskgrpo("recipes", "check").returncode == 0
    started = subprocess.run(
        [str(site / "bin" / "maskgrpo"), "--version"], capture_output=True, text=True, env=env, cwd=tmp_path
    )
    assert started.stdout == f"maskgrpo {maskgrpo_cli.__version__}\n"
