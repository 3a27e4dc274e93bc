# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Audits of automatic successes: a person looks at a tenth of them; too many wrong ones stop the automatism.

``audit.jsonl`` beside the episodes holds one line for each look. The episode node reads it before every
episode: while :func:`stop_reason` says why, no predicate and no reward model ends an episode as a success.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.json_lines import append_line, read_lines
from apprentice.robot.intervals import wilson

FILE = 'audit.jsonl'
SHARE = 0.1  # of the automatic successes
WINDOW = 20  # newest audits that count
LEAST = 0.95  # share of them that must have been right


@dataclass(frozen=True)
class Audit:
    """A person's look at an episode that was ended as a success automatically; ``time`` [s since 1970]."""

    episode: str
    right: bool
    person: str = ''
    time: float = 0.0


@dataclass(frozen=True)
class Precision:
    """Of automatic successes: how many of the newest audited ones were right, with a 95 % interval."""

    audited: int
    right: int

    @property
    def share(self) -> float | None:
        """None before the first audit."""
        return self.right / self.audited if self.audited else None

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.right, self.audited)


class AuditFile:
    """The audits in ``path``. Raises EpisodeFileError for a line that is whole and yet no audit."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def add(self, audit: Audit) -> None:
        """Append a look; on the disk when this returns. Raises OSError where the disk takes no more."""
        append_line(
            self.path,
            {
                'episode': audit.episode,
                'right': audit.right,
                'person': audit.person,
                'time': round(audit.time or time.time(), 3),
            },
        )

    def withdraw(self, episode: str, person: str) -> None:
        """Whoever looked at an episode cannot tell after all: it was not audited."""
        append_line(
            self.path,
            {'episode': episode, 'withdrawn': True, 'person': person, 'time': round(time.time(), 3)},
        )

    def begin_again(self, person: str) -> None:
        """Earlier audits count no more: what judged has been put right."""
        append_line(self.path, {'begin': True, 'person': person, 'time': round(time.time(), 3)})

    def read(self, all_of_them: bool = False) -> list[Audit]:
        """The last look at each episode, in order, since the last beginning (or all)."""
        found: dict[str, Audit] = {}
        for number, line in read_lines(self.path):
            if 'begin' in line:
                if not all_of_them:
                    found.clear()
                continue
            if line.get('withdrawn'):
                found.pop(str(line.get('episode')), None)
                continue
            try:
                audit = Audit(
                    str(line['episode']),
                    bool(line['right']),
                    str(line.get('person', '')),
                    float(line['time']),
                )
            except (KeyError, TypeError, ValueError) as error:
                raise EpisodeFileError(
                    f'{self.path} line {number} is no audit ({error!r}); correct or remove it'
                ) from None
            found.pop(audit.episode, None)  # looked at again: it is the newest now
            found[audit.episode] = audit
        return list(found.values())


def precision(audits: Sequence[Audit], window: int = WINDOW) -> Precision:
    """Of the newest ``window`` audits."""
    newest = audits[-window:]
    return Precision(len(newest), sum(audit.right for audit in newest))


def stop_reason(audits: Sequence[Audit]) -> str:
    """Why success must not be taken automatically any more; empty: it may.

    Fewer than WINDOW audits stop it as soon as no further ones could bring them to LEAST.
    """
    found = precision(audits)
    wrong = found.audited - found.right
    if wrong <= WINDOW * (1 - LEAST) + 1e-9:
        return ''
    return (
        f'{wrong} of the last {found.audited} audited automatic successes were none (at most '
        f'{WINDOW * (1 - LEAST):.0f} of {WINDOW} may be): label by hand until what judges is put right, then '
        'begin again with `apprentice label --audit --begin-again`'
    )


def drawn(episodes: Iterable[str], share: float = SHARE, seed: int = 0) -> list[str]:
    """Those that are audited: each by its own draw, so that new episodes change nothing about old ones."""
    chosen = []
    for name in episodes:
        digest = hashlib.sha256(f'{seed}\0{name}'.encode()).digest()
        if int.from_bytes(digest[:8], 'big') < share * 2**64:
            chosen.append(name)
    return chosen
