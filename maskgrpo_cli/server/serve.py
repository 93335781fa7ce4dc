"""A server from its first socket to its end."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
import ssl
from collections.abc import Sequence

import uvicorn

from maskgrpo_cli.errors import Interrupted, RunFailed, UserError
from maskgrpo_cli.server.app import build
from maskgrpo_cli.server.connection import with_times
from maskgrpo_cli.server.guard import Guard
from maskgrpo_cli.server.logs import log, set_up
from maskgrpo_cli.server.options import Options
from maskgrpo_cli.server.service import Service
from maskgrpo_cli.server.worker import Load

LARGEST_HEAD = 32 * 2**10  # bytes of a request's line and headers
LAST = 5  # seconds for answers to be taken, once the last is written


def run(loads: Sequence[Load], options: Options) -> None:
    """Serve rewards until SIGTERM or Ctrl-C; what was accepted by then is still answered.

    Args:
        loads: for each worker, what makes its rewards in its process.
        options: how.

    Raises:
        UserError: the address, the files of TLS or the rewards cannot be used, or there is no token where one is due.
        RunFailed: the rewards cannot be made, or accepted requests could not be answered.
        Interrupted: it was told to end twice.
    """
    _check(options)
    with _bound(options.host, options.port) as listening:
        set_up()
        asyncio.run(_serve(loads, options, listening))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check(options: Options) -> None:
    if options.token is None and not is_loopback(options.host):
        raise UserError(
            f"--host {options.host} lets other machines in, so a token is due: write it into a file and give "
            "--token-file FILE, or set MASKGRPO_SERVER_TOKEN\n  clients send it as Authorization: Bearer TOKEN"
        )
    if options.limits.items > options.queue_items:
        raise UserError(
            f"--queue {options.queue_items} has no room for the {options.limits.items} items of one request; "
            f"write --queue {options.limits.items} or more, or a smaller --max-items"
        )
    if options.tls_key is not None and options.tls_cert is None:
        raise UserError("--tls-key needs --tls-cert")
    if options.tls_cert is not None:
        _check_tls(options.tls_cert, options.tls_key)


def _check_tls(cert: str, key: str | None) -> None:
    try:
        # without a password of its own OpenSSL would ask the terminal for one
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=lambda: "")
    except FileNotFoundError as error:
        missing = " or ".join(filter(None, (cert, key)))
        raise UserError(f"--tls-cert, --tls-key: {missing} is missing") from error
    except (OSError, ssl.SSLError) as error:
        why = f"{cert}{f' and {key}' if key else ''} are no certificate and its key, in PEM and without a password"
        raise UserError(f"--tls-cert, --tls-key: {why}: {error}") from error


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, number)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:  # a name may be none that can be written in DNS
        why = getattr(error, "strerror", None) or error
        raise UserError(f"--host {host} --port {port}: cannot listen there: {why}") from error
    return listening


class _Server(uvicorn.Server):
    """Uvicorn, with the signals left to us."""

    @contextlib.contextmanager
    def capture_signals(self):
        """Captures none."""
        yield


def _uvicorn(service: Service) -> _Server:
    options, metrics = service.options, service.metrics
    protocol = with_times(
        options.header_timeout, options.write_timeout, lambda phase: metrics.connections_cut.labels(phase).inc()
    )
    app = Guard(build(service), options.token, metrics, most=2 * options.limits.body_bytes)
    return _Server(
        uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=options.max_connections,
            timeout_keep_alive=options.keep_alive,
            timeout_graceful_shutdown=LAST,
            h11_max_incomplete_event_size=LARGEST_HEAD,
            ssl_certfile=options.tls_cert,
            ssl_keyfile=options.tls_key,
        )
    )


async def _serve(loads: Sequence[Load], options: Options, listening: socket.socket) -> None:
    service = Service(loads, options)
    server = _uvicorn(service)
    told = _hear_signals()
    service.start()
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not (server.started or serving.done()):
        await asyncio.sleep(0.005)
    log("listening", url=_url(options, listening), token=options.token is not None, tls=options.tls_cert is not None)
    if not is_loopback(options.host) and options.tls_cert is None:
        log("without TLS the token can be overheard: --tls-cert, or a proxy that speaks TLS", 30)
    try:
        first = asyncio.create_task(told.get())
        await asyncio.wait({first, service.failed, serving}, return_when=asyncio.FIRST_COMPLETED)
        if service.failed.done():
            service.failed.result()
        await _drain(service, told)
    except BaseException:  # nobody is waited for any more
        server.force_exit, server.config.timeout_graceful_shutdown = True, 0
        raise
    finally:
        server.should_exit = True
        await serving
        await service.close()
    log("ended")


def _hear_signals() -> asyncio.Queue[int]:
    told: asyncio.Queue[int] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.put_nowait, int(number))
    return told


async def _drain(service: Service, told: asyncio.Queue[int]) -> None:
    """Refuse what is new, and wait for what was accepted; a second signal ends the wait."""
    service.draining = True
    log("draining", requests=service.active, items=len(service.queue))
    end = asyncio.get_running_loop().time() + service.options.drain_timeout
    while service.active:
        if not told.empty():
            raise Interrupted(told.get_nowait())
        if asyncio.get_running_loop().time() > end:
            raise RunFailed(f"{service.active} requests were not answered in {service.options.drain_timeout:g} s")
        await asyncio.sleep(0.02)


def _url(options: Options, listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"{'https' if options.tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
