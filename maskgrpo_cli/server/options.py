"""What can be set of a server."""

from __future__ import annotations

from dataclasses import dataclass, field

from maskgrpo_cli.domains.scoring_protocol import Limits


@dataclass(frozen=True)
class Options:
    """How a server listens, what it takes, and how it puts batches together. All times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None  # what clients must say; None: nothing
    tls_cert: str | None = None
    tls_key: str | None = None  # None: in the file of the certificate
    max_batch: int = 32
    max_wait: float = 0.01
    queue_items: int = 4096
    batch_timeout: float = 120.0
    body_timeout: float = 60.0  # for the whole body of a request
    header_timeout: float = 10.0
    write_timeout: float = 30.0  # for a client that does not take its answer
    keep_alive: float = 75.0
    drain_timeout: float = 300.0
    max_connections: int = 512
    held_bytes: int = 2**30  # of the bodies of all requests
    limits: Limits = field(default_factory=Limits)
