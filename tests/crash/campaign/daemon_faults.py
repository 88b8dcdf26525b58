"""Faults of dsd itself, and what its operators do to it while it serves."""

import asyncio
import math
import signal
import time


def pids(campaign):
    return {row["id"]: row["pid"] for row in campaign.dsd.runners()}


def blame_restarts(campaign, before, when):
    """A runner of `before` may have ended since, where its generation had just been replaced; all that serve
    are of those, and there is no other one."""
    after = pids(campaign)
    live = campaign.dsd.control("GET", "/ctl/models").json[0]["generation"]
    serving = sum(row["generation"] == live for row in campaign.dsd.runners())
    if not after.items() <= before.items() or serving != campaign.arguments.runners:
        campaign.blame("runners restarted", f"{before} became {after} {when}")


async def all_ready(campaign):
    await campaign.until(lambda: all(row["state"] == "ready" and row["pid"] not in campaign.killed
                                     for row in campaign.dsd.runners()), "all runners to be ready")


class DaemonKill:
    """SIGKILL to dsd; another one takes its runners over, and the clients come back."""
    name = "daemon_kill"

    async def strike(self, campaign):
        await all_ready(campaign)
        # What a runner that died had, and no other one has yet, would die with dsd.
        await campaign.until(lambda: not any(row["state"] == "queued" and row["prompt_tokens"]
                                             for row in campaign.dsd.requests()), "the replays to be sent")
        before = pids(campaign)
        campaign.connections_break_before_ns = math.inf
        campaign.dsd.process.send_signal(signal.SIGKILL)
        campaign.dsd.process.wait()
        begun = time.monotonic()
        await asyncio.to_thread(campaign.dsd.start)
        await all_ready(campaign)
        campaign.times_s.setdefault("adoption", []).append(time.monotonic() - begun)
        campaign.connections_break_before_ns = time.monotonic_ns()
        blame_restarts(campaign, before, "in an adoption")
        return True


class Reexec:
    """dsd becomes the same program anew, in place; no connection may feel it."""
    name = "reexec"

    async def strike(self, campaign):
        await all_ready(campaign)
        before, process = pids(campaign), campaign.dsd.process.pid
        begun_ns = time.monotonic_ns()
        answer = await asyncio.to_thread(campaign.dsd.control, "POST", "/ctl/daemon/reexec")
        if answer.status == 409 and "not now" in answer.text:
            campaign.load.findings.counts["reexec put off"] += 1  # a replay cannot be handed over yet
            return False
        if answer.status != 200:
            campaign.blame("reexec failed", answer.text)
            return True
        campaign.times_s.setdefault("reexec pause", []).append(answer.json["pause_ms"] * 1e-3)
        campaign.upgrades.append((begun_ns, time.monotonic_ns()))
        await all_ready(campaign)
        blame_restarts(campaign, before, "in a reexec")
        if campaign.dsd.control("GET", "/ctl/status").json["pid"] != process:
            campaign.blame("reexec failed", f"dsd was {process} and is another process")
        return True


class Swap:
    """The model is loaded anew beside itself and takes its own place."""
    name = "swap"

    async def strike(self, campaign):
        await all_ready(campaign)
        begun = time.monotonic()
        answer = await asyncio.to_thread(campaign.dsd.control, "POST", "/ctl/orders/swap/tiny")
        if answer.status != 200:
            campaign.blame("swap failed", answer.text)
        campaign.times_s.setdefault("swap", []).append(time.monotonic() - begun)
        return True


class Canary:
    """The model is tried beside itself with half of the requests, and then takes its place or goes again."""
    name = "canary"
    LASTS_S = 0.5

    async def order(self, campaign, verb, body=None):
        answer = await asyncio.to_thread(campaign.dsd.control, "POST", f"/ctl/orders/{verb}/tiny", body)
        if answer.status != 200:
            campaign.blame(f"{verb} failed", answer.text)
        return answer.status == 200

    async def strike(self, campaign):
        await all_ready(campaign)
        if await self.order(campaign, "canary", {"percent": 50}):
            await asyncio.sleep(self.LASTS_S)
            await self.order(campaign, campaign.random.choice(["promote", "rollback"]))
        return True


class Reload:
    """The configuration is read anew."""
    name = "reload"

    async def strike(self, campaign):
        answer = await asyncio.to_thread(campaign.dsd.control, "POST", "/ctl/config/reload")
        if answer.status != 200:
            campaign.blame("reload failed", answer.text)
        return True


ALL = (DaemonKill, Reexec, Swap, Canary, Reload)
