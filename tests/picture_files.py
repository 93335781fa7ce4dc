"""Real picture files for tests: single ones, folders and tars of them."""

import io
import json
import tarfile

from PIL import Image


def image(shade=0, size=(8, 6), mode="RGB"):
    """A picture of one shade."""
    colours = {"RGB": (shade, 10, 20), "L": shade, "RGBA": (shade, 10, 20, 255), "P": 0}
    return Image.new(mode, size, colours[mode])


def raw(shade=0, kind="PNG", size=(8, 6), **options):
    """The bytes of a picture's file."""
    file = io.BytesIO()
    image(shade, size).save(file, kind, **options)
    return file.getvalue()


def write(folder, files):
    """Files of a folder: pictures by their shade, text, bytes, or objects as JSON (a list of objects line by line)."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_bytes(name, content))
    return folder


def write_tar(path, members, kind="w"):
    """A tar with members in this order: a list of (name, content) or a dict; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, kind) as tar:
        for name, content in members.items() if isinstance(members, dict) else members:
            info = tarfile.TarInfo(name)
            data = _bytes(name, content)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def _bytes(name, content):
    if isinstance(content, bytes):
        return content
    if isinstance(content, int):
        return raw(content, {"jpg": "JPEG", "webp": "WEBP"}.get(name.rpartition(".")[2].lower(), "PNG"))
    if isinstance(content, list):
        return "\n".join(json.dumps(row) for row in content).encode()
    return (content if isinstance(content, str) else json.dumps(content)).encode()
