# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What ``apprentice label`` puts on its page: pairs of a desk, or episodes to judge."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from apprentice.episodes.answers import Answer
from apprentice.episodes.audits import Audit, AuditFile, precision, stop_reason
from apprentice.episodes.doubts import Ending
from apprentice.episodes.labels import label_path, restore_label, write_label
from apprentice.learning.preference.desk import Desk
from apprentice.nodes.asking import Asking, EpisodeQuestion
from apprentice.nodes.clip_strips import ClipStrips
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome

Reply = Callable[[bool, str], None]
AT_ONCE = 4  # episodes read before pairs are chosen again


class PairPanel(Asking):
    """Asks about the pairs of a desk until ``wanted`` are answered (0: as long as there are any).

    Args:
        person: whose answers these are, where the page does not say.
    """

    def __init__(
        self,
        desk: Desk,
        readers: Mapping[str, Callable[[], Episode]],
        spec: RobotSpec,
        folders: list[Path],
        person: str = '',
        wanted: int = 0,
    ):
        super().__init__([camera.name for camera in spec.cameras])
        self._desk, self._readers, self._person, self._wanted = desk, readers, person, wanted
        self._strips = ClipStrips(spec, folders)
        self.routes = {'/api/strip': self._strips.answer}
        self._asked = ''
        self._choosing = threading.Lock()  # one thread chooses pairs, another takes answers
        self._all_read = self._exhausted = False

    def work(self) -> bool:
        """Read a few episodes and choose pairs; False: all were read. Slow, in a thread of its own."""
        more = self._desk.look(self._readers, AT_ONCE)
        ready = self._desk.prepare()
        with self._choosing:
            if not self._asked:
                self._next()
            self._all_read = not more
            self._exhausted = not more and not ready and not self._asked
        return bool(more)

    @property
    def finished(self) -> bool:
        """Enough is answered, or there is nothing left to ask."""
        return self._enough() or (self._exhausted and not self._asked)

    def _enough(self) -> bool:
        return bool(self._wanted) and self._desk.progress()['answered'] >= self._wanted

    def progress(self) -> dict[str, Any]:
        return {**self._desk.progress(), 'wanted': self._wanted}

    def note(self) -> str:
        if self._enough():
            return 'Thank you, that is all. You may close this page and press Ctrl-C in the terminal.'
        if not self._all_read:
            return 'Reading episodes ...'
        if not self._exhausted:
            return 'Choosing the next pairs ...'
        return 'There is no further pair to ask about: record more episodes with the same instruction.'

    def take_pair(self, answer: Answer, reply: Reply) -> None:
        if not answer.person and self._person:
            answer = Answer(answer.pair, answer.choice, self._person, repeat=answer.repeat)
        try:
            self._desk.answer(answer)
        except OSError as error:
            reply(False, f'the answer cannot be written: {error.strerror or error}')
            return
        with self._choosing:
            if answer.pair.pair_id == self._asked:
                self._next(answer.person)
        reply(True, '')

    def close(self) -> None:
        self._strips.close()

    def _next(self, person: str | None = None) -> None:
        self._asked = ''
        found = None
        if not self._enough():
            found = self._desk.next(self._person if person is None else person)
        if found is None:
            self.show_nothing()
            return
        self._asked = found[0].pair_id
        self.show_pair(*found)


class VerdictPanel(Asking):
    """Asks whether episodes succeeded; writes labels, and audits where ``audits`` is given.

    Args:
        endings: what to ask about, with the reason for each.
    """

    def __init__(
        self,
        endings: Sequence[tuple[Ending, str]],
        spec: RobotSpec,
        folders: list[Path],
        person: str = '',
        audits: AuditFile | None = None,
    ):
        super().__init__([camera.name for camera in spec.cameras])
        self._waiting = list(endings)
        self._known = {ending.name: ending for ending, _ in endings}
        self._wanted, self._answered = len(endings), 0
        self._before: dict[str, bytes | None] = {}  # label file of what was judged here, before that
        self._corrected: dict[str, bool] = {}
        self._person, self._audits = person, audits
        self._asked = ''
        self._strips = ClipStrips(spec, folders)
        self.routes = {'/api/strip': self._strips.answer}
        self._next()

    @property
    def finished(self) -> bool:
        """Every episode was shown."""
        return not self._asked

    @property
    def corrected(self) -> int:
        """Episodes whose outcome is another one now."""
        return sum(self._corrected.values())

    def progress(self) -> dict[str, Any]:
        found: dict[str, Any] = {'answered': self._answered, 'wanted': self._wanted}
        if self._audits is not None:
            newest = precision(self._audits.read())
            found |= {'precision': newest.share, 'audited': newest.audited}
        return found

    def note(self) -> str:
        stopped = stop_reason(self._audits.read()) if self._audits is not None else ''
        thanks = 'Thank you, that is all. You may close this page.'
        return f'{thanks} No more automatic successes: {stopped}' if stopped else thanks

    def take_verdict(
        self, question: EpisodeQuestion, outcome: Outcome | None, person: str, reply: Reply
    ) -> None:
        person = person or self._person
        ending = self._known[question.episode]
        try:
            if outcome is not None:
                label = label_path(ending.path)
                self._before.setdefault(ending.name, label.read_bytes() if label.exists() else None)
                self._corrected[ending.name] = judge(ending, outcome, person, self._audits)
            elif ending.name in self._before:
                take_back(ending, self._before[ending.name], person, self._audits)
                self._corrected[ending.name] = False
        except OSError as error:
            reply(False, f'the label cannot be written: {error.strerror or error}')
            return
        if question.episode == self._asked:
            self._answered += 1
            self._next()
        reply(True, '')

    def close(self) -> None:
        self._strips.close()

    def _next(self) -> None:
        if not self._waiting:
            self._asked = ''
            self.show_nothing()
            return
        ending, why = self._waiting.pop(0)
        self._asked = ending.name
        self.show_episode(EpisodeQuestion(ending.name, ending.task, max(0.1, ending.seconds), why))


def judge(ending: Ending, outcome: Outcome, person: str, audits: AuditFile | None = None) -> bool:
    """Keep a person's verdict: a label beside the episode, and an audit where ``audits`` is given.

    Returns whether it differs from what was recorded. Raises OSError where the disk takes no more.
    """
    write_label(ending.path, outcome, person or 'label')
    if audits is not None:
        audits.add(Audit(ending.name, outcome == Outcome.SUCCESS, person))
    return outcome != ending.recorded


def take_back(ending: Ending, before: bytes | None, person: str, audits: AuditFile | None = None) -> None:
    """The person cannot tell after all: the label of ``before``, or none, counts again, and no audit.

    Raises OSError where the disk takes no more.
    """
    restore_label(ending.path, before)
    if audits is not None:
        audits.withdraw(ending.name, person)
