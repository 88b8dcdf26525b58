"""A streaming client on asyncio: many at once in one process, each reading its events as they come."""

import asyncio
import json
import time

import harness
from answer import Answer

BOUND_S = 180.0  # without an event: nothing that is served takes so long


class Broken(Exception):
    """The connection ended before the answer did."""


class Refused(Exception):
    """Another status than 200."""

    def __init__(self, status, headers, text):
        super().__init__(f"{status}: {text[:300]}")
        self.status, self.headers, self.text = status, headers, text


class Stream:
    """One answer's life at its client."""

    def __init__(self, request):
        self.request = request
        self.id = ""            # of the request, as the server names it
        self.positions = []     # tokens told so far of each choice
        self.last_event_id = ""
        self.accepted = False   # its 200 came
        self.breaks = 0         # of its connection
        self.answer = Answer(request.choices)
        self.error = None       # of an `event: error`
        self.done = False       # [DONE] came
        self.last_ns = 0        # when the last event came
        self.gaps = []          # (when it came, seconds since the one before), of each event but the first
        self.trouble = []       # what no server may do

    async def run(self, path, headers, may_break=lambda begun_ns: False):
        """To its end. Where its connection breaks and one begun then may, another one fetches the rest."""
        limit = time.monotonic() + BOUND_S
        while not self.done and self.error is None:
            begun_ns = time.monotonic_ns()
            try:
                await self.read_one_connection(path, headers)
            except (asyncio.IncompleteReadError, OSError) as error:
                if not may_break(begun_ns) or time.monotonic() > limit:
                    raise Broken(str(error)) from error
                self.breaks += 1
                await asyncio.sleep(0.01)
            else:
                if not self.done and self.error is None:
                    raise Broken("its body ended as if the answer were whole")

    async def read_one_connection(self, path, headers):
        reader, writer = await asyncio.open_unix_connection(path, limit=1 << 20)
        try:
            writer.write(self.message(headers))
            await writer.drain()
            status, told = await read_head(reader)
            if status != 200:
                length = int(told.get("content-length", 0))
                raise Refused(status, told, (await reader.readexactly(length)).decode(errors="replace"))
            self.accepted = True
            self.id = told.get("x-request-id", self.id)
            await self.read_events(reader)
        finally:
            writer.close()

    def message(self, headers):
        """What asks for it, or, once events have come, for those after the last one."""
        if self.last_event_id:
            return (f"GET /v1/requests/{self.id}/events HTTP/1.1\r\nHost: localhost\r\n"
                    f"Last-Event-ID: {self.last_event_id}\r\n\r\n").encode()
        body = json.dumps({**self.request.body, "stream": True}).encode()
        head = {"Host": "localhost", "Content-Type": "application/json",
                "Content-Length": str(len(body)), **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        return f"POST {self.request.endpoint} HTTP/1.1\r\n{lines}\r\n".encode() + body

    async def read_events(self, reader):
        name, position = "", None
        async for line in lines_of(reader):
            if line.startswith("id: "):
                position = line[4:]
            elif line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                self.hear(name, position, line[6:])
                name, position = "", None

    def hear(self, name, position, data):
        now_ns = time.monotonic_ns()
        if self.last_ns:
            self.gaps.append((now_ns, (now_ns - self.last_ns) * 1e-9))
        self.last_ns = now_ns
        if self.done or self.error:
            self.trouble.append("something came after the end")
        if data == "[DONE]":
            self.done = True
            return
        event = json.loads(data)
        if name == "error" or "error" in event:
            self.error = event["error"]
            return
        if position:
            self.advance(position)
            self.last_event_id = position
        for choice in event.get("choices", []):
            try:
                self.answer.add(choice)
            except ValueError as error:
                self.trouble.append(str(error))

    def advance(self, position):
        self.id = position.partition(":")[0]
        after = harness.tokens_told(position)
        if self.positions and any(b < a for a, b in zip(self.positions, after)):
            self.trouble.append(f"the position goes back from {self.positions} to {after}")
        self.positions = after


async def read_head(reader):
    lines = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), BOUND_S)).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    return int(lines[0].split()[1]), headers


async def lines_of(reader):
    """The lines of a chunked body."""
    rest = b""
    while True:
        size = int(await asyncio.wait_for(reader.readuntil(b"\r\n"), BOUND_S), 16)
        rest += (await reader.readexactly(size + 2))[:-2]
        if size == 0:
            return
        *lines, rest = rest.split(b"\n")
        for line in lines:
            yield line.decode().rstrip("\r")
