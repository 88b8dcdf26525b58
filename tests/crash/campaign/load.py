"""The load: clients that each ask one request of the menu after another, and what they find."""

import asyncio
import collections
import json

from answer import Answer, differences
from request_menu import PATIENT
from stream import Broken, Refused, Stream

PATIENCE_S = 2.0  # of a client that is told to come back later


def undisturbed(dsd, request):
    """What the request's answer is when nothing goes wrong: as a whole, from the same server."""
    answer = dsd.api("POST", request.endpoint, request.body, PATIENT)
    if answer.status != 200:
        raise AssertionError(f"request {request.number}: {answer.status}: {answer.text}")
    whole = Answer(request.choices)
    for choice in answer.json["choices"]:
        whole.add(choice)
    return whole


class Findings:
    """Counts of everything, sentences of what must not be."""

    def __init__(self):
        self.counts = collections.Counter()
        self.wrong = []

    def blame(self, kind, stream, text):
        self.counts[kind] += 1
        self.wrong.append(f"{kind}: request {stream.request.number} ({stream.id or 'no id'}): {text}")


class Load:
    def __init__(self, dsd, menu, streams, keyed, may_break, may_turn_away):
        self.dsd, self.menu, self.wanted = dsd, menu, streams
        self.may_break, self.may_turn_away = may_break, may_turn_away
        self.expected = {request.number: undisturbed(dsd, request) for request in menu}
        self.findings = Findings()
        self.refusals = collections.Counter()  # by reason
        self.running = set()  # streams that have begun and not ended
        self.gaps = []        # of all that have ended: (request's id, gaps)
        self.turn = 0
        self.keys = 0
        self.keyed = keyed
        self.over = False
        self.clients = []

    def begin(self):
        self.clients = [asyncio.create_task(self.client()) for _ in range(self.wanted)]

    async def end(self):
        """No further request; those that run end."""
        self.over = True
        await asyncio.gather(*self.clients)

    async def client(self):
        while not self.over:
            request = self.menu[self.turn % len(self.menu)]
            self.turn += 1
            retry_after_s = await self.ask(Stream(request))
            if retry_after_s:
                await asyncio.sleep(min(retry_after_s, PATIENCE_S))

    async def ask(self, stream):
        """Seconds to wait before the next request, where it was told."""
        findings = self.findings
        findings.counts["asked"] += 1
        self.running.add(stream)
        try:
            await stream.run(self.dsd.api_path, self.headers(), self.may_break)
        except Refused as refused:
            return self.hear_refusal(stream, refused)
        except Broken as broken:
            if self.may_turn_away and not stream.accepted:
                findings.counts["turned away"] += 1  # by a server that has no descriptors left
                return 0.1
            return findings.blame("lost", stream, f"the connection ended: {broken}")
        except asyncio.TimeoutError:
            return findings.blame("lost", stream, "nothing came for too long")
        finally:
            self.running.discard(stream)
            self.gaps.append((stream.id, stream.gaps))
        self.judge(stream)

    def headers(self):
        """A key of its own for each, so that what is asked again is the same request."""
        self.keys += 1
        return {**PATIENT, "Idempotency-Key": f"campaign-{self.keys}"} if self.keyed else PATIENT

    def hear_refusal(self, stream, refused):
        """Before its 200 a request may be refused for load; then it says when to come back."""
        if not stream.accepted and refused.status == 503 and "retry-after" in refused.headers:
            self.findings.counts["refused"] += 1
            self.refusals[json.loads(refused.text)["error"].get("reason", "no reason")] += 1
            return int(refused.headers["retry-after"])
        code = json.loads(refused.text)["error"]["code"]
        if not self.is_given_up(stream, code):
            self.findings.blame("wrong refusals", stream, str(refused))
        return 1

    def is_given_up(self, stream, code):
        """Of an answer with scores of which first a runner died and then dsd, nobody has the first scores."""
        if not (stream.breaks and stream.request.scored and code in ("runner_lost", "gone")):
            return False
        self.findings.counts["given up, runner and dsd died"] += 1
        return True

    def judge(self, stream):
        findings = self.findings
        if stream.breaks:
            findings.counts["resumed"] += 1
        for text in stream.trouble:
            findings.blame("broken rules", stream, text)
        if stream.error and self.is_given_up(stream, stream.error["code"]):
            return
        if stream.error:
            findings.blame("failed", stream, str(stream.error))
        elif not stream.done or not stream.answer.whole:
            findings.blame("lost", stream, "it ended without its end")
        elif found := differences(self.expected[stream.request.number], stream.answer):
            findings.blame("not exact", stream, "; ".join(found))
        else:
            findings.counts["exact"] += 1
            findings.counts["tokens"] += sum(stream.positions)
