# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What ``apprentice label`` puts on its page: pairs of a desk, or episodes to judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from apprentice.episodes.answers import Answer
from apprentice.episodes.audits import Audit, AuditFile, precision, stop_reason
from apprentice.episodes.doubts import Ending
from apprentice.episodes.labels import write_label
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
        self._all_read = False

    def work(self) -> bool:
        """Read a few episodes and choose pairs; False: all were read. Slow, in a thread of its own."""
        more = self._desk.look(self._readers, AT_ONCE)
        self._desk.prepare()
        self._all_read = not more
        if not self._asked:
            self._next()
        return bool(more)

    @property
    def finished(self) -> bool:
        """Enough is answered, or there is nothing left to ask."""
        progress = self._desk.progress()
        enough = self._wanted and progress['answered'] >= self._wanted
        return bool(enough or (self._all_read and not self._asked and not progress['ready']))

    def progress(self) -> dict[str, Any]:
        return {**self._desk.progress(), 'wanted': self._wanted}

    def note(self) -> str:
        if self._wanted and self._desk.progress()['answered'] >= self._wanted:
            return 'Thank you, that is all. You may close this page and press Ctrl-C in the terminal.'
        if not self._all_read:
            return 'Reading episodes ...'
        return 'There is no further pair to ask about: record more episodes with the same instruction.'

    def take_pair(self, answer: Answer, reply: Reply) -> None:
        if not answer.person and self._person:
            answer = Answer(answer.pair, answer.choice, self._person, repeat=answer.repeat)
        try:
            self._desk.answer(answer)
        except OSError as error:
            reply(False, f'the answer cannot be written: {error.strerror or error}')
            return
        if answer.pair.pair_id == self._asked:
            self._next(answer.person)
        reply(True, '')

    def close(self) -> None:
        self._strips.close()

    def _next(self, person: str | None = None) -> None:
        self._asked = ''
        found = None
        if not self._wanted or self._desk.progress()['answered'] < self._wanted:
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
        self._wanted, self._answered, self.corrected = len(endings), 0, 0
        self._person, self._audits = person, audits
        self._asked = ''
        self._strips = ClipStrips(spec, folders)
        self.routes = {'/api/strip': self._strips.answer}
        self._next()

    @property
    def finished(self) -> bool:
        """Every episode was shown."""
        return not self._asked

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
                self.corrected += judge(ending, outcome, person, self._audits)
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
