# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Who has the controls: one person at a time, as long as that person's page lives; and rate limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

SILENT_S = 5.0  # a page beats once a second; after this the controls are free
IDLE_S = 300.0  # the same for a page that lives but whose person does nothing


@dataclass
class Holder:
    """The person at the controls: open page, secret of that browser tab, and name for the others."""

    client: int
    key: str
    name: str
    beat: float
    acted: float


class Lease:
    """The controls of one robot. Not thread-safe: the server's thread owns it.

    They are never taken from somebody: only given back, or lost by silence. A reloaded page of the same
    browser tab (same ``key``) gets them back at once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._holder: Holder | None = None

    @property
    def holder(self) -> Holder | None:
        """Who has the controls now; None if they are free."""
        holder, now = self._holder, self._clock()
        if holder and (now - holder.beat > SILENT_S or now - holder.acted > IDLE_S):
            self._holder = None
        return self._holder

    def take(self, client: int, key: str, name: str, alive: Callable[[int], bool]) -> str:
        """Take free controls, or use those one has. Returns why not, empty if it worked.

        Args:
            alive: whether the page of a number is still open.
        """
        holder, now = self.holder, self._clock()
        if holder and holder.client != client:
            own = bool(key) and holder.key == key and not alive(holder.client)
            if not own:
                return f'{holder.name} has the controls; they must be given back first (Stop always works)'
        self._holder = Holder(client, key, name, now, now)
        return ''

    def beat(self, client: int) -> None:
        """The page of the holder lives."""
        holder = self.holder
        if holder and holder.client == client:
            holder.beat = self._clock()

    def give_back(self, client: int) -> None:
        """Free the controls if this page has them."""
        if self._holder and self._holder.client == client:
            self._holder = None


class Bucket:
    """A rate limit: ``rate`` messages a second on average, ``burst`` at once."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic):
        self._rate, self._burst, self._clock = rate, burst, clock
        self._level, self._at = burst, clock()

    @property
    def empty(self) -> bool:
        """Whether one more would exceed the limit now."""
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        return self._level < 1

    def take(self) -> bool:
        """Whether one more message is within the limit."""
        if self.empty:
            return False
        self._level -= 1
        return True
