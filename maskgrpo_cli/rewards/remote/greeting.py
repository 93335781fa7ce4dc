"""What is asked of a server before the first batch, so that a mistake in a recipe is told before anything is drawn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import httpx

from maskgrpo_cli.domains import scoring_protocol as wire
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.rewards.remote.adapter import BadAnswer, Refused, clean
from maskgrpo_cli.rewards.remote.exchange import Terms, TryLater, get
from maskgrpo_cli.rewards.remote.maskgrpo import MaskGrpo, info
from maskgrpo_cli.rewards.remote.servers import Server


async def greet(
    servers: Sequence[Server], adapter: MaskGrpo, terms: Terms, warn: Callable[[str], None]
) -> int:
    """Ask every server what it has; returns how many completions a request may have.

    A server that is away is told of by `warn` and not waited for.

    Raises:
        UserError: a server refuses the token, is no reward server of this version, or has no such reward.
    """
    async with terms.client(len(servers)) as client:
        found = await asyncio.gather(*(ask_info(client, server, terms) for server in servers))
    known = {}
    for server, answer in zip(servers, found, strict=True):
        if isinstance(answer, TryLater):
            warn(f"{server.url} does not answer yet ({answer.why})")
        else:
            known[server.url] = _reward(server.url, answer, adapter.reward)
    versions = {reward.version for reward in known.values()}
    if len(versions) > 1:
        each = ", ".join(f"{url} {clean(reward.version, 40)}" for url, reward in known.items())
        warn(f"the servers' rewards are of different versions, and may score differently: {each}")
    limits = [answer.limits for answer in found if isinstance(answer, wire.ServerInfo)]
    return min((min(limit.items, limit.pictures) for limit in limits), default=adapter.most)


async def ask_info(client: httpx.AsyncClient, server: Server, terms: Terms) -> wire.ServerInfo | TryLater:
    """What a server tells of itself, or why it does not now. Raises UserError where it never will."""
    try:
        status, body = await get(client, server.url + wire.INFO, terms)
        if status in (401, 403):
            named = "the token is not the server's" if terms.token else "name the variable of its token, token_env"
            raise UserError(f"{server.url}: it wants a token (status {status}); {named}")
        if status == 429 or status >= 500:
            return TryLater(f"status {status}")
        if status != 200:
            raise BadAnswer(f"{wire.INFO} has status {status}: is it the address of a reward server?")
        return info(body)
    except TryLater as error:
        return error
    except Refused as error:
        raise UserError(f"{server.url}: {error}") from error


def _reward(url: str, answer: wire.ServerInfo, name: str | None) -> wire.RewardInfo:
    """The reward that is asked for, or the only one. Raises UserError."""
    named = ", ".join(clean(reward.name, 60) for reward in answer.rewards) or "none"
    if name is None:
        if len(answer.rewards) != 1:
            raise UserError(f"reward: {url} has several; name one of {named}")
        return answer.rewards[0]
    reward = next((reward for reward in answer.rewards if reward.name == name), None)
    if reward is None:
        raise UserError(f"reward = {name!r}: {url} has no such reward; it has {named}")
    return reward
