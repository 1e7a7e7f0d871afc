"""The garbage collector, set for a stream of messages. For the process, not for the library: the command calls it."""

import gc

YOUNG = 20_000
"""Objects made, less those let go, between two collections; Python's own figure is 700.

A message is a handful of objects that are let go by reference counting when it is settled. With thousands of them in
flight the default looks at each several times for nothing: a fifth of the cost of a message, in `benchmarks/engine.py`.
"""


def set_for_streams() -> None:
    """Look for cycles less often, and never among what has been loaded until now."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 50, 100)
