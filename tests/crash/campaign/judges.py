"""What a campaign must have been like to show anything, a sentence for each thing that was not so.

An empty run, or one in which everybody was sent away, loses nothing either.
"""

import report

EXACT_PART_MIN = 0.9     # of what was not sent away
REFUSED_PART_MAX = 0.2   # of what was asked, each with its Retry-After; a breaker is open for 30 s
TURNED_AWAY_MAX = 20     # by a server without descriptors, for each client and `crowd`: two seconds of asking
GIVEN_UP_MAX = 0.4       # for each client and `daemon_kill`: two in five answers have scores
PUT_OFF_MAX = 20         # for each `reexec`
OTHERS_RATIO_MAX = 3.0   # ITL p99 of those at another runner, around a death
PAUSE_P99_MAX_S = 0.05
ADOPTION_MAX_S = 1.0


def of_answers(counts, struck, streams):
    """Enough exact answers, and nothing that is allowed more often than its cause explains."""
    def at_most(name, limit):
        return [f"{counts[name]} {name}, of at most {limit:.0f}"] if counts[name] > limit else []

    sent_away = counts["turned away"] + counts["refused"] + counts["given up, runner and dsd died"]
    served = counts["asked"] - sent_away
    found = at_most("turned away", TURNED_AWAY_MAX * streams * struck.get("crowd", 0))
    found += at_most("refused", REFUSED_PART_MAX * (served + counts["refused"]))
    found += at_most("given up, runner and dsd died", GIVEN_UP_MAX * streams * struck.get("daemon_kill", 0))
    found += at_most("reexec put off", PUT_OFF_MAX * struck.get("reexec", 0))
    least = max(streams, EXACT_PART_MIN * served)
    if counts["exact"] < least:
        found.append(f"{counts['exact']} answers exact, of at least {least:.0f}")
    if struck.get("daemon_kill", 0) > counts["resumed"]:
        found.append(f"{counts['resumed']} streams resumed over {struck['daemon_kill']} kills of dsd")
    return found


def of_times(times_s, pace, paced):
    """Where the machine is ours. `pace`: p99 of the others' ITL, calm and around a death; `paced`: it must be
    known."""
    found = []
    pause_s = report.percentile(times_s.get("reexec pause", []), 0.99)
    if pause_s > PAUSE_P99_MAX_S:
        found.append(f"a reexec's pause has a p99 of {pause_s * 1e3:.1f} ms, of at most "
                     f"{PAUSE_P99_MAX_S * 1e3:.0f} ms")
    adoption_s = max(times_s.get("adoption", []), default=0.0)
    if adoption_s > ADOPTION_MAX_S:
        found.append(f"an adoption took {adoption_s:.2f} s, of at most {ADOPTION_MAX_S} s")
    if pace and pace[1] > OTHERS_RATIO_MAX * pace[0]:
        found.append(f"the others' ITL p99 was {pace[1] / pace[0]:.2f} times that of calm, of at most "
                     f"{OTHERS_RATIO_MAX}")
    if paced and not pace:
        found.append("too few events to tell the others' ITL")
    return found
