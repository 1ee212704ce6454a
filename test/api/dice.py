"""Randomness that is the same on every version of Python."""

import random


class Dice:
    """Deterministic choices by name.

    Only random() is used: Python promises its sequence for a seed, and promises it for no
    other method, so choice() and friends might differ between the Pythons we run on.
    """

    def __init__(self, *names):
        self.random = random.Random(":".join(str(name) for name in names)).random

    def below(self, limit):
        """Return an integer of 0 .. limit - 1."""
        return int(self.random() * limit)

    def between(self, low, high):
        """Return an integer of low .. high, both included."""
        return low + int(self.random() * (high - low + 1))

    def pick(self, items):
        """Return one of the items."""
        return items[int(self.random() * len(items))]

    def pick_skewed(self, items):
        """Return one of the items, the first ones much more often, as people are active."""
        return items[int(self.square() * len(items))]

    def square(self):
        """Return the square of a random number; pow() is the platform's and may round."""
        draw = self.random()
        return draw * draw

    def some(self, items, count):
        """Return count different items in the order drawn (all of them if there are fewer)."""
        pool = list(items)
        drawn = []
        while pool and len(drawn) < count:
            drawn.append(pool.pop(self.below(len(pool))))
        return drawn

    def chance(self, probability):
        """Return True with the given probability."""
        return self.random() < probability

    def hex(self, digits):
        """Return a string of hexadecimal digits."""
        return "".join("0123456789abcdef"[int(self.random() * 16)] for _ in range(digits))
