"""Figures as text."""

def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def gaps_between(gaps, begin_ns, end_ns):
    """Of (when it ended, its seconds): the seconds of those that ended then."""
    return [seconds for at_ns, seconds in gaps if begin_ns <= at_ns < end_ns]


def bound(trials):
    """Zero failures in N trials bound the rate below 3/N."""
    return f"rate below {3 / trials:.3g} with 95 % confidence" if trials else "nothing was tried"
