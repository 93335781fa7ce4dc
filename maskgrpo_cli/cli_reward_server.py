"""`maskgrpo reward-server`: rewards over HTTP."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from maskgrpo_cli import cli_options as options
from maskgrpo_cli.errors import UserError

TOKEN = "MASKGRPO_SERVER_TOKEN"
SHORTEST_TOKEN = 16
_MILLION = 2**20


def complete_reward(incomplete: str) -> list[str]:
    """Names of rewards."""
    from maskgrpo_cli import registry

    return [name for name in registry.names("reward") if name.startswith(incomplete)]


Reward = Annotated[
    list[str] | None,
    options.option(
        "--reward",
        "NAME",
        "A reward's name, or your own as module.path:attribute; repeatable. Example: --reward clip",
        complete_reward,
    ),
]
RewardSet = Annotated[
    list[str] | None,
    options.option(
        "--set",
        "NAME.KEY=VALUE",
        "A setting of a reward, repeatable; the value is YAML. Example: --set clip.dtype=float16",
    ),
]
Host = Annotated[
    str,
    options.option(
        "--host", "ADDRESS", "Default: 127.0.0.1, this machine only; any other needs a token. Example: --host 0.0.0.0"
    ),
]
Port = Annotated[
    int, options.option("--port", "N", "Default: 8080; 0 takes a free one. Example: --port 8090", min=0, max=65535)
]
TokenFile = Annotated[
    str | None,
    options.option(
        "--token-file", "FILE", f"The token that clients must send, or set {TOKEN}. Example: --token-file token.txt"
    ),
]
TlsCert = Annotated[
    str | None,
    options.option(
        "--tls-cert", "FILE", "A certificate in PEM; with --check the one that is trusted. Example: --tls-cert c.pem"
    ),
]
TlsKey = Annotated[
    str | None,
    options.option("--tls-key", "FILE", "Its key; default: in the certificate's file. Example: --tls-key key.pem"),
]
Devices = Annotated[
    str,
    options.option(
        "--device", "NAME[,NAME...]", "cpu, cuda, cuda:N, mps or auto (the default). Example: --device cuda:0,cuda:1"
    ),
]
Workers = Annotated[
    int, options.option("--workers", "N", "Processes for each device; default: 1. Example: --workers 2", min=1, max=256)
]
MaxBatch = Annotated[
    int, options.option("--max-batch", "N", "Items at once; default: 32. Example: --max-batch 64", min=1)
]
MaxWait = Annotated[
    float,
    options.option(
        "--max-wait-ms", "MS", "How long a batch waits for more items; default: 10. Example: --max-wait-ms 50", min=0
    ),
]
QueueSize = Annotated[
    int, options.option("--queue", "N", "Items that may wait at once; default: 4096. Example: --queue 8192", min=1)
]
Timeout = Annotated[
    float,
    options.option(
        "--timeout", "SECONDS", "Until an answer is given up; default: 300. Example: --timeout 60", min=0.001
    ),
]
BatchTimeout = Annotated[
    float,
    options.option(
        "--batch-timeout",
        "SECONDS",
        "Until a worker that hangs is replaced; default: 120. Example: --batch-timeout 600",
        min=0.001,
    ),
]
MaxBody = Annotated[
    float, options.option("--max-body", "MB", "Of a request; default: 64. Example: --max-body 16", min=0.001)
]
MaxMemory = Annotated[
    float,
    options.option(
        "--max-memory", "MB", "Of all requests at once; default: 1024. Example: --max-memory 4096", min=0.001
    ),
]
MaxItems = Annotated[
    int, options.option("--max-items", "N", "In a request; default: 1024. Example: --max-items 64", min=1)
]
MaxPictures = Annotated[
    int, options.option("--max-pictures", "N", "In a request; default: 256. Example: --max-pictures 64", min=1)
]
MaxPixels = Annotated[
    int,
    options.option(
        "--max-pixels", "N", "Pixels of a picture, at most; default: 2048 x 2048. Example: --max-pixels 1048576", min=1
    ),
]
MaxText = Annotated[
    int,
    options.option(
        "--max-text", "N", "Characters of a prompt or text; default: 100000. Example: --max-text 20000", min=1
    ),
]
MaxConnections = Annotated[
    int, options.option("--max-connections", "N", "At once; default: 512. Example: --max-connections 64", min=2)
]
Check = Annotated[
    str | None,
    options.option(
        "--check",
        "URL",
        "Serve nothing: score a built-in sample at this server and compare with the same rewards here; leave with 0 "
        "if all is well, 1 if not, 2 for a mistake of yours. Example: --check http://127.0.0.1:8080",
    ),
]
CHECKED = ("check", "reward", "set_", "token_file", "tls_cert", "device", "timeout", "offline")


def reward_server(
    ctx: typer.Context,
    reward: Reward = None,
    set_: RewardSet = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    token_file: TokenFile = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    device: Devices = "auto",
    workers: Workers = 1,
    max_batch: MaxBatch = 32,
    max_wait_ms: MaxWait = 10.0,
    queue: QueueSize = 4096,
    timeout: Timeout = 300.0,
    batch_timeout: BatchTimeout = 120.0,
    max_body: MaxBody = 64.0,
    max_memory: MaxMemory = 1024.0,
    max_items: MaxItems = 1024,
    max_pictures: MaxPictures = 256,
    max_pixels: MaxPixels = 2048 * 2048,
    max_text: MaxText = 100_000,
    max_connections: MaxConnections = 512,
    offline: options.Offline = False,
    check: Check = None,
) -> None:
    """Serve rewards over HTTP, to this machine, or with a token to others.

    \b
    It ends at SIGTERM or Ctrl-C, once what it accepted is answered. Its page: /docs.

    \b
    Examples:
      maskgrpo reward-server --reward shapes
      maskgrpo reward-server --reward clip --reward my.module:score --set clip.dtype=float16 --device cuda:0,cuda:1
      maskgrpo reward-server --reward hpsv2 --host 0.0.0.0 --token-file token.txt --tls-cert cert.pem --tls-key key.pem
      maskgrpo reward-server --check https://gpu-7:8080 --token-file token.txt --tls-cert cert.pem
    """
    if check is not None:
        return _check(ctx, check, reward or [], set_ or [], token_file, tls_cert, device, timeout, offline)
    if not reward:
        raise UserError("name the rewards to serve, such as: maskgrpo reward-server --reward shapes")
    if twice := [name for name in reward if reward.count(name) > 1]:
        raise UserError(f"--reward {twice[0]} is given twice")
    for name, number in {"timeout": timeout, "batch-timeout": batch_timeout, "max-wait-ms": max_wait_ms,
                         "max-body": max_body, "max-memory": max_memory}.items():  # fmt: skip
        if not math.isfinite(number):
            raise UserError(f"--{name} {number}: write a number that is finite")
    settings, devices, token = reward_settings(set_ or [], reward), _devices(device), _token(token_file)
    from maskgrpo_cli.engine.reward_server import Limits, Options, run

    limits = Limits(
        body_bytes=int(max_body * _MILLION),
        items=max_items,
        pictures=max_pictures,
        pixels=max_pixels,
        text=max_text,
        timeout_s=timeout,
    )
    chosen = Options(
        host=host,
        port=port,
        token=token,
        tls_cert=tls_cert,
        tls_key=tls_key,
        max_batch=max_batch,
        max_wait=max_wait_ms / 1000,
        queue_items=queue,
        batch_timeout=batch_timeout,
        drain_timeout=timeout,
        max_connections=max_connections,
        held_bytes=int(max_memory * _MILLION),
        limits=limits,
    )
    run(reward, settings, devices, workers, offline, chosen)


def _check(
    ctx: typer.Context,
    url: str,
    names: list[str],
    set_: list[str],
    token_file: str | None,
    tls_cert: str | None,
    device: str,
    timeout: float,
    offline: bool,
) -> None:
    """See `engine.reward_check`; options that only serving reads are mistakes."""
    for param in ctx.command.params:
        if param.name not in CHECKED and ctx.get_parameter_source(param.name).name == "COMMANDLINE":
            raise UserError(f"--check reads no {param.opts[0]}; take it out")
    if not math.isfinite(timeout):
        raise UserError(f"--timeout {timeout}: write a number that is finite")
    if "," in device:
        raise UserError(f"--device {device}: with --check name one device, for the rewards here")
    (place,) = _devices(device)
    settings, token = reward_settings(set_, names), _token(token_file)
    from maskgrpo_cli.engine.reward_check import run

    run(url, names, settings, place, offline, token=token, ca_file=tls_cert, timeout=timeout)


def reward_settings(texts: list[str], names: list[str]) -> dict[str, dict[str, Any]]:
    """Reward -> setting -> value, of `name.key=value` texts; raises UserError for what cannot be read."""
    from maskgrpo_cli.config.yaml_file import parse_value

    settings: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        name, _, key = path.strip().rpartition(".")
        if not equals or not name or not key:
            raise UserError(f"--set {text}: write NAME.KEY=VALUE, such as --set clip.dtype=float16")
        if name not in names:
            raise UserError(f"--set {text}: there is no --reward {name} here; there are: {', '.join(names) or 'none'}")
        try:
            settings.setdefault(name, {})[key] = parse_value(value)
        except ValueError as error:
            raise UserError(f"--set {text}: {error}") from error
    return settings


def _devices(text: str) -> list[str]:
    devices = [word.strip() for word in text.split(",")]
    for device in devices:
        if not re.fullmatch(r"cpu|mps|auto|cuda(:\d{1,3})?", device):
            raise UserError(f"--device {text}: '{device}' is none; write cpu, cuda, cuda:N, mps or auto, with commas")
    return devices


def _token(file: str | None) -> str | None:
    token, origin = os.environ.get(TOKEN), TOKEN
    if file is not None:
        origin = f"--token-file {file}"
        try:
            token = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{origin}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if token is None:
        return None
    token = token.strip()
    if len(token) < SHORTEST_TOKEN or not re.fullmatch(r"[!-~]+", token):
        raise UserError(
            f"{origin}: a token has at least {SHORTEST_TOKEN} letters, digits or signs and no spaces\n"
            "  make one: python -c 'import secrets; print(secrets.token_urlsafe(32))' > token.txt"
        )
    return token
