"""The menu of faults. Each does its damage to a running dsd and returns once that is done; not once it is
mended.

A fault is a class with a name and `strike`; it says False where there was nothing to damage.
"""

import asyncio
import os
import signal
import time

import client_faults
import daemon_faults
import host_faults


TICK_S = 0.25  # of dsd's watch


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def send(row, number):
    """A signal to the runner that this row is about; to nobody when it has gone meanwhile."""
    try:
        process = os.pidfd_open(row["pid"])
    except ProcessLookupError:
        return
    try:
        with open(f"/proc/{row['pid']}/comm") as file:
            if file.read().startswith("ds-runner"):
                signal.pidfd_send_signal(process, number)
    except OSError:
        pass  # it has ended
    finally:
        os.close(process)


def victim(campaign, states=("ready",)):
    """A process of a runner in one of these states; None: there is none."""
    rows = [row for row in campaign.dsd.runners() if row["state"] in states and alive(row["pid"])]
    return campaign.random.choice(rows) if rows else None


class Kill:
    """SIGKILL to a runner, whatever it does just now."""
    name = "kill"

    async def strike(self, campaign):
        row = victim(campaign, ("starting", "loading", "ready", "ready", "ready"))
        if row is None:
            return False
        campaign.note_death(row)
        campaign.killed.add(row["pid"])
        send(row, signal.SIGKILL)
        return True


# A request that is alone when its runner dies twice is rightly taken for the cause.
COMPANY = 8


class Crash:
    """A fatal signal to a runner that has several requests."""
    name = "crash"

    async def strike(self, campaign):
        row = victim(campaign)
        if row is None or row["requests"] < COMPANY:
            return False
        campaign.note_death(row)
        send(row, campaign.random.choice([signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS]))
        return True


class Hang:
    """SIGSTOP for longer than hang_after: the runner is replaced."""
    name = "hang"

    async def strike(self, campaign):
        row = victim(campaign)
        if row is None or row["requests"] < COMPANY:
            return False
        campaign.note_death(row)

        def is_ended():
            send(row, signal.SIGSTOP)  # again: some hosts continue now and then what they find stopped
            return not alive(row["pid"])

        await campaign.until(is_ended, f"the end of {row['id']}, which hangs")
        return True


class Pause:
    """SIGSTOP for two ticks less than hang_after, then SIGCONT: the runner is left alone."""
    name = "pause"

    async def strike(self, campaign):
        row = victim(campaign)
        if row is None:
            return False
        begun = time.monotonic()
        send(row, signal.SIGSTOP)
        await asyncio.sleep(campaign.hang_after_s - 2 * TICK_S)
        ended = not alive(row["pid"])
        send(row, signal.SIGCONT)
        lasted_s = time.monotonic() - begun
        if lasted_s > campaign.hang_after_s - TICK_S:
            campaign.load.findings.counts["pauses that a busy host made too long"] += 1
            return False
        if ended:
            campaign.blame("replaced too soon", f"{row['id']} was ended after {lasted_s:.2f} s")
        return True


class Drain:
    """An operator drains a runner, waits until it is empty and resumes it."""
    name = "drain"

    async def strike(self, campaign):
        row = victim(campaign)
        if row is None:
            return False
        for verb, state in (("drain", "drained"), ("resume", "resumed")):
            answer = await asyncio.to_thread(campaign.dsd.control, "POST",
                                             f"/ctl/runners/{row['id']}/{verb}")
            if answer.status != 200 or answer.json["state"] != state:
                campaign.blame("drain failed", f"{verb} {row['id']}: {answer.text}")
        return True


class Restart:
    """An operator's restart."""
    name = "restart"

    async def strike(self, campaign):
        row = victim(campaign)
        if row is None:
            return False
        campaign.note_death(row)
        answer = await asyncio.to_thread(campaign.dsd.control, "POST", f"/ctl/runners/{row['id']}/restart")
        if answer.status != 200:
            campaign.blame("restart failed", f"{row['id']}: {answer.text}")
        return True


ALL = {fault.name: fault for fault in (Kill, Crash, Hang, Pause, Restart, Drain, *client_faults.ALL,
                                      *daemon_faults.ALL, *host_faults.ALL)}
