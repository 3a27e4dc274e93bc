# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The page that asks people: what it is told and what it says, on the dashboard and for ``apprentice label``.

Its state is ``asking`` in the message ``state``: a question of kind ``pair`` or ``episode``, progress, and a
note where there is no question. A page answers by the id of the question, so it may answer an earlier one
again. No ROS in here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from apprentice.episodes.answers import CHOICES, Answer, Stretch, StretchPair
from apprentice.nodes.dashboard_panels import Action, Panel, Press
from apprentice.robot.types import Outcome

KEPT = 200  # questions that may be answered again
VERDICTS = {'success': Outcome.SUCCESS, 'failure': Outcome.FAILURE, 'cannot tell': None}


@dataclass(frozen=True)
class EpisodeQuestion:
    """Did this episode succeed? ``why``: for people to read."""

    episode: str
    instruction: str
    seconds: float
    why: str


class Asking(Panel):
    """Base of what asks; subclasses say what to do with answers.

    Args:
        cameras: names, in the order in which they are shown.
    """

    name = 'asking'

    def __init__(self, cameras: list[str]):
        self.files = {'/preferences': 'preferences.html'}
        self._cameras = cameras
        self._lock = threading.Lock()
        self._questions: OrderedDict[str, StretchPair | EpisodeQuestion] = OrderedDict()
        self._question: dict[str, Any] | None = None
        self.actions = {'answer': Action(self._on_answer, shared=True)}

    def show_pair(self, pair: StretchPair, repeat: bool = False) -> None:
        """Ask about a pair."""
        self._show(
            pair.pair_id,
            pair,
            {
                'kind': 'pair',
                'id': pair.pair_id,
                'instruction': pair.instruction,
                'left': _stretch(pair.left),
                'right': _stretch(pair.right),
                'repeat': repeat,
                'information': round(pair.information, 3) if pair.information == pair.information else None,
            },
        )

    def show_episode(self, question: EpisodeQuestion) -> None:
        """Ask about an episode."""
        whole = {'episode': question.episode, 'begin': 0.0, 'end': round(question.seconds, 3)}
        self._show(
            question.episode,
            question,
            {
                'kind': 'episode',
                'id': question.episode,
                'instruction': question.instruction,
                'left': whole,
                'why': question.why,
            },
        )

    def show_nothing(self) -> None:
        """There is no question now."""
        with self._lock:
            self._question = None

    def _show(self, key: str, question: StretchPair | EpisodeQuestion, shown: dict[str, Any]) -> None:
        with self._lock:
            self._questions[key] = question
            self._questions.move_to_end(key)
            while len(self._questions) > KEPT:
                self._questions.popitem(last=False)
            self._question = {**shown, 'cameras': self._cameras}

    def report(self) -> dict[str, Any]:
        with self._lock:
            question = self._question
        return {'question': question, 'progress': self.progress(), 'note': '' if question else self.note()}

    def progress(self) -> dict[str, Any]:
        """Numbers for people to see."""
        return {}

    def note(self) -> str:
        """Why there is no question."""
        return ''

    def take_pair(self, answer: Answer, reply: Callable[[bool, str], None]) -> None:
        """A person preferred something."""

    def take_verdict(
        self,
        question: EpisodeQuestion,
        outcome: Outcome | None,
        person: str,
        reply: Callable[[bool, str], None],
    ) -> None:
        """A person judged an episode; None: can't tell."""

    def _on_answer(self, press: Press) -> None:
        key, said, person = press.text('id'), press.text('answer'), press.text('person', 40)
        with self._lock:
            question = self._questions.get(key)
            current = self._question
        if question is None:
            press.reply(False, 'this question is too old; answer the one on the page')
        elif isinstance(question, StretchPair) and said in CHOICES:
            repeat = bool(current and current['id'] == key and current.get('repeat'))
            self.take_pair(Answer(question, said, person, repeat=repeat), press.reply)
        elif isinstance(question, EpisodeQuestion) and said in VERDICTS:
            self.take_verdict(question, VERDICTS[said], person, press.reply)
        else:
            press.reply(False, f'{said!r} is no answer to this question')


def _stretch(stretch: Stretch) -> dict[str, Any]:
    return {'episode': stretch.episode, 'begin': stretch.begin, 'end': stretch.end}
