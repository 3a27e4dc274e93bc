# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What people said about pairs of stretches: one file of JSON lines beside the episodes.

    {"pair": "5f0c...", "instruction": "pick up the red cube", "left": ["e-1", 1.5, 3.5],
     "right": ["e-7", 0.0, 2.0], "answer": "left", "person": "anna", "time": 1790000000.0}

Lines are only ever appended, each synced to the disk before the next pair is asked about. A line that a crash
or a full disk cut off is skipped, never repaired. The last answer of a person to a pair counts; undoing it
appends a line, too. Several processes may write to one file.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from apprentice.episodes.facts import episode_folder
from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.json_lines import append_line, read_lines

Choice = Literal['left', 'right', 'equal', 'cannot tell']
CHOICES: tuple[Choice, ...] = get_args(Choice)  # in the order of PreferenceAnswer.msg
FILE = 'preferences.jsonl'
_TURNED: dict[str, Choice] = {'left': 'right', 'right': 'left'}


@dataclass(frozen=True)
class Stretch:
    """A part of a recorded episode; ``begin`` and ``end`` in seconds since the episode began."""

    episode: str
    begin: float
    end: float

    def __post_init__(self) -> None:
        if not self.episode or not 0 <= self.begin < self.end < math.inf:
            raise ValueError(
                f'a stretch of {self.episode!r} from {self.begin} to {self.end} s; name an episode, and give '
                '0 <= begin < end'
            )

    def key(self) -> str:
        """Text that is the same for the same stretch, to the millisecond."""
        return f'{self.episode}\0{round(self.begin * 1e3)}\0{round(self.end * 1e3)}'


@dataclass(frozen=True)
class StretchPair:
    """Two stretches to compare, of episodes with the same instruction.

    Attributes:
        information: why this pair: what the answer is expected to tell, in bits; NaN: not known.
    """

    instruction: str
    left: Stretch
    right: Stretch
    information: float = field(default=math.nan, compare=False)

    @property
    def pair_id(self) -> str:
        """The same for the same two stretches, whichever is on the left."""
        text = '\0\0'.join(sorted([self.left.key(), self.right.key()]))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def swapped(self) -> StretchPair:
        """The same pair, the sides exchanged."""
        return replace(self, left=self.right, right=self.left)


@dataclass(frozen=True)
class Answer:
    """What a person said of a pair.

    Attributes:
        time: of the answer [s since 1970].
        repeat: the pair was asked a second time on purpose, to see whether the person agrees with before.
    """

    pair: StretchPair
    choice: Choice
    person: str = ''
    time: float = 0.0
    repeat: bool = False

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise ValueError(f'the answer is {self.choice!r}; use one of {CHOICES}')

    @property
    def better(self) -> Stretch | None:
        """The stretch that was chosen; None where neither was."""
        return {'left': self.pair.left, 'right': self.pair.right}.get(self.choice)

    @property
    def worse(self) -> Stretch | None:
        """The other one."""
        return {'left': self.pair.right, 'right': self.pair.left}.get(self.choice)

    def agrees(self, other: Answer) -> bool:
        """Whether two answers to the same pair say the same, whichever side the stretches were on."""
        turned = self.pair.left.key() != other.pair.left.key()
        return self.choice == (_TURNED.get(other.choice, other.choice) if turned else other.choice)


class AnswerFile:
    """The answers in ``path``; a file that does not exist has none, and is made by the first.

    Raises EpisodeFileError for a line that is whole and yet no answer, naming it.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def add(self, answer: Answer) -> Answer:
        """Append an answer, stamped now if it has no time; returns it. On the disk when this returns.

        Raises OSError, e.g. for a full disk; nothing that was there is lost.
        """
        answer = answer if answer.time else replace(answer, time=round(time.time(), 3))
        append_line(self.path, _to_dict(answer))
        return answer

    def undo(self, person: str) -> Answer | None:
        """Take the newest answer of ``person`` back; an earlier one to that pair counts again. None: none."""
        mine = [answer for answer in self.history() if answer.person == person]
        if not mine:
            return None
        append_line(self.path, {'undo': mine[-1].pair.pair_id, 'person': person, 'time': time.time()})
        return mine[-1]

    def history(self) -> list[Answer]:
        """All answers that were not taken back, in the order in which they were given."""
        found: list[Answer] = []
        for number, line in read_lines(self.path):
            if 'undo' not in line:
                found.append(_from_dict(line, f'{self.path} line {number}'))
                continue
            for index in range(len(found) - 1, -1, -1):
                if (found[index].pair.pair_id, found[index].person) == (line['undo'], line.get('person', '')):
                    del found[index]
                    break
        return found

    def read(self) -> list[Answer]:
        """The answer that counts for each pair and person, in the order of their first answers."""
        newest: dict[tuple[str, str], Answer] = {}
        for answer in self.history():
            newest[answer.pair.pair_id, answer.person] = answer
        return list(newest.values())


@dataclass(frozen=True)
class Consistency:
    """How often a person said the same again; equal and can't tell count as answers."""

    repeats: int
    agreed: int

    @property
    def share(self) -> float:
        """In [0, 1]; NaN before the first repeat."""
        return self.agreed / self.repeats if self.repeats else math.nan


def consistency(history: Sequence[Answer]) -> Consistency:
    """Answers to repeated pairs against the answer of the same person before."""
    before: dict[tuple[str, str], Answer] = {}
    repeats = agreed = 0
    for answer in history:
        key = answer.pair.pair_id, answer.person
        if answer.repeat and key in before:
            repeats += 1
            agreed += answer.agrees(before[key])
        before[key] = answer
    return Consistency(repeats, agreed)


def told(history: Sequence[Answer]) -> dict[str, Any]:
    """What a history says of itself: answered pairs, undecided ones among them, repeats and agreed ones."""
    answers, same = effective(history), consistency(history)
    return {
        'answered': len(answers),
        'undecided': sum(answer.better is None for answer in answers),
        'repeats': same.repeats,
        'agreed': same.agreed,
    }


def effective(history: Sequence[Answer]) -> list[Answer]:
    """The last answer of each person to each pair."""
    newest = {(answer.pair.pair_id, answer.person): answer for answer in history}
    return list(newest.values())


def answer_files(folders: Iterable[str | Path]) -> list[Path]:
    """The files of answers beside the episodes of these folders. Raises EpisodeFileError for none."""
    places = [episode_folder(folder) / FILE for folder in folders]
    found = [path for path in places if path.is_file()]
    if not found:
        raise EpisodeFileError(
            f'nobody was asked yet: there is no {", ".join(map(str, places))}; run `apprentice label`, or '
            'give the file with --labels'
        )
    return found


def read_answers(paths: Iterable[str | Path]) -> list[Answer]:
    """The answers of several files. Raises EpisodeFileError where one is missing or holds none."""
    found: list[Answer] = []
    for path in paths:
        if not Path(path).is_file():
            raise EpisodeFileError(f'no answers in {path}: no such file; give some with `apprentice label`')
        answers = AnswerFile(path).read()
        if not answers:
            raise EpisodeFileError(f'{path} holds no answers; give some with `apprentice label`')
        found += answers
    return found


def _to_dict(answer: Answer) -> dict[str, Any]:
    pair = answer.pair
    content: dict[str, Any] = {'pair': pair.pair_id, 'instruction': pair.instruction}
    for side in ('left', 'right'):
        stretch = getattr(pair, side)
        content[side] = [stretch.episode, round(stretch.begin, 3), round(stretch.end, 3)]
    content |= {'answer': answer.choice, 'person': answer.person, 'time': round(answer.time, 3)}
    if answer.repeat:
        content['repeat'] = True
    if math.isfinite(pair.information):
        content['information'] = round(float(pair.information), 4)
    return content


def _from_dict(content: dict[str, Any], where: str) -> Answer:
    try:
        left, right = (
            Stretch(str(name), float(begin), float(end))
            for name, begin, end in (content['left'], content['right'])
        )
        information = float(content.get('information', math.nan))
        pair = StretchPair(str(content['instruction']), left, right, information)
        return Answer(
            pair, content['answer'], str(content.get('person', '')), float(content.get('time', 0.0)),
            bool(content.get('repeat', False)),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise EpisodeFileError(
            f'{where} is no answer ({error!r}); it needs instruction, left and right as [episode, begin, '
            f'end], and answer, one of {", ".join(CHOICES)}: correct or remove it'
        ) from None
