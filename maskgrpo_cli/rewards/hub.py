"""Files of a Hugging Face repository, through its cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskgrpo_cli.errors import UserError


def fetch(repository: str, patterns: Sequence[str], instead: str, *, offline: bool) -> Path:
    """The folder with those files of a repository that match `patterns`; it may hold none of them.

    Args:
        repository: owner/name.
        patterns: names of files, with wildcards.
        instead: what to write where the hub cannot be had, such as `weights=path/to/FILE`.
        offline: look in the cache only.

    Raises:
        UserError: neither in the cache nor to be had over the network.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns), local_files_only=offline))
    except HFValidationError as error:
        raise UserError(f"'{repository}' is no well-formed hub id (owner/name)") from error
    except LocalEntryNotFoundError as error:
        raise UserError(_not_there(repository, patterns, instead, offline)) from error
    except (HfHubHTTPError, OSError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise UserError(f"{repository}: the hub answered: {' '.join(lines[:2])}\n  or write {instead}") from error


def fetch_one(repository: str, names: Sequence[str], instead: str, *, offline: bool) -> Path:
    """The first of these files that a repository has. Raises UserError like `fetch`, or where it has none."""
    for name in names:
        found = fetch(repository, [name], instead, offline=offline) / name
        if found.is_file():
            return found
    raise UserError(_not_there(repository, names, instead, offline))


def _not_there(repository: str, names: Sequence[str], instead: str, offline: bool) -> str:
    where = "in the local cache, and --offline is set" if offline else "to be had: not cached, and not on the hub"
    return f"{' or '.join(names)} of {repository} is not {where}\n  get the file and write {instead}"
