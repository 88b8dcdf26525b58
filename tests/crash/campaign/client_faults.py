"""Faults of clients: those that are slow, that die in the middle, and too many at once."""

import asyncio
import json

BODY = {"prompt": "Once upon a time", "max_tokens": 200, "ignore_eos": True, "stream": True}


async def ask(campaign, body=None):
    reader, writer = await asyncio.open_unix_connection(campaign.dsd.api_path)
    data = json.dumps(body or BODY).encode()
    writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                 b"X-Deepserve-Deadline-Ms: 60000\r\nContent-Length: " + str(len(data)).encode() +
                 b"\r\n\r\n" + data)
    await writer.drain()
    return reader, writer


class Slow:
    """A client that reads a little now and then, and leaves."""
    name = "slow"

    async def strike(self, campaign):
        async def read():
            reader, writer = await ask(campaign)
            for _ in range(20):
                if not await reader.read(64):
                    break
                await asyncio.sleep(0.1)
            writer.close()

        campaign.spawn(read())
        return True


class Dead:
    """A client that is gone after the first bytes of its answer."""
    name = "dead"

    async def strike(self, campaign):
        async def leave():
            reader, writer = await ask(campaign)
            await reader.read(1)
            writer.transport.abort()

        campaign.spawn(leave())
        return True


class Mute:
    """A client that says half of what it wants and waits."""
    name = "mute"

    async def strike(self, campaign):
        async def wait():
            _, writer = await asyncio.open_unix_connection(campaign.dsd.api_path)
            writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Le")
            await asyncio.sleep(2)
            writer.close()

        campaign.spawn(wait())
        return True


class Crowd:
    """More connections at once than dsd has descriptors left; those that get in say nothing."""
    name = "crowd"
    CONNECTIONS = 400

    async def strike(self, campaign):
        async def stay():
            try:
                _, writer = await asyncio.open_unix_connection(campaign.dsd.api_path)
                await asyncio.sleep(0.5)
                writer.close()
            except OSError:
                pass  # refused: that is an answer

        for _ in range(self.CONNECTIONS):
            campaign.spawn(stay())
        return True


ALL = (Slow, Dead, Mute, Crowd)
