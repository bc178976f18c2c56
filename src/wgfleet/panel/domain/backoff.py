"""The wait before another try."""


def backoff(failures: int, random: float, *, first_s: float, longest_s: float) -> float:
    """Return the s to wait after that many failures: doubling from `first_s`, capped, spread over the upper half.

    `random` is in [0, 1); it keeps those that failed together from coming back together.
    """
    delay: float = min(longest_s, first_s * 2.0 ** min(failures - 1, 16))
    return delay * (0.5 + random / 2)
