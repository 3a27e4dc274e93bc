# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a vision-language critic is asked.

The wording 'vlac' is that of VLAC's published code (arXiv 2509.15937, InternRobotics/VLAC), which its weights
need word by word. All other wording is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.vlm.chat import Picture, Question

Part: TypeAlias = str | Picture
Reference: TypeAlias = Sequence[tuple[int, Picture]]  # percent of the way, and how it looks then


def pair_question(
    wording: str, task: str, before: Picture, after: Picture, reference: Reference, start: Picture
) -> Question:
    """Signed percent of progress from one image to the other.

    Args:
        reference: one demonstration, so that the model has seen the task done once; empty: none.
        start: how the present attempt began.
    """
    _check(task)
    if wording == 'vlac':
        parts = [*_vlac_reference(task, reference), *(['0% ', start] if reference else [])]
        shared = len(_vlac_reference(task, reference))
        lead = '\nThis image is the trajectory beginning of the following two images\n' if reference else ''
        parts += [
            f'{lead}Image-1: ',
            before,
            '\nImage-2: ',
            after,
            '\nCompare two images and evaluate whether the second image is closer to achieving task '
            'objectives compared to the first image. + score means the second image is closer, '
            '- score means the first image is closer\n'
            'Response the relative progressing of target task follow <score>. '
            f'The target task is: <task> {task} </task> <score>',
        ]
        return Question(tuple(parts), shared)
    shown = _reference(task, reference)
    parts = [
        *shown,
        'First image: ',
        before,
        '\nSecond image: ',
        after,
        '\nBy how many percent of the whole task is the robot further in the second image than in the first? '
        'A negative number means that it is further back. Answer with one whole number from -100 to 100.',
    ]
    return Question(tuple(parts), len(shown))


def done_question(wording: str, task: str, image: Picture, reference: Reference) -> Question:
    """Whether the task is done in an image: 1 or 0 for VLAC, otherwise yes or no."""
    _check(task)
    if wording == 'vlac':
        text = (
            '\nThe 1 means yes, the 0 means no. Check if the robot has completed its task: '
            f'<task> {task} </task> <done>'
        )
        return Question((image, text))
    shown = _reference(task, reference)
    text = '\nIs the task completely done in this image? Answer with one word, yes or no.'
    return Question((*shown, 'Now: ', image, text), len(shown))


def better_question(task: str, image: Picture, reference: Reference) -> Question:
    """Whether an image shows the task at least as far as the last image of a reference, yes or no.

    RewardDance (arXiv 2509.08826) reads the probability that a candidate is better than a reference; without
    a reference the question is whether the task is done well.
    """
    _check(task)
    shown = _reference(task, reference)
    asked = 'done at least as well as at the end of the example' if reference else 'done well'
    text = f'\nIs the task {asked} in this image? Answer with one word, yes or no.'
    return Question((*shown, 'Now: ', image, text), len(shown))


def true_question(task: str, video: Sequence[Picture]) -> Question:
    """Frames of an attempt so far, and the claim that the task is done (TOPReward, arXiv 2602.19313)."""
    _check(task)
    text = (
        '\nThese are frames of a robot at work, in order. Claim: by the last frame the robot has completed '
        f'the task "{task}". Say True or False.'
    )
    return Question((*video, text), answer='The answer is: ')


def rubric_question(task: str, video: Sequence[Picture]) -> Question:
    """A grade from 1 to 5 for an attempt (the scale of RoboReward, arXiv 2601.00675)."""
    _check(task)
    text = (
        f'\nThese are frames of a robot, in order. Its task: {task}\nGrade the result: 1 nothing achieved, '
        '2 little progress, 3 about half done, 4 nearly complete, 5 complete. Answer with one digit.'
    )
    return Question((*video, text))


def _reference(task: str, reference: Reference) -> list[Part]:
    parts: list[Part] = [f'A robot has this task: {task}\n']
    if reference:
        parts.append('An example of the task done once, with how much of it is done:')
        for percent, image in reference:
            parts += [f'\n{percent}% ', image]
        parts.append('\n')
    return parts


def _vlac_reference(task: str, reference: Reference) -> list[Part]:
    if not reference:
        return []
    parts: list[Part] = [f'<trajectory> <task> {task} </task>: ']
    for place, (percent, image) in enumerate(reference):
        parts += [f'{percent}% ' if place == 0 else f'\n {percent}% ', image]
    parts.append('\n</trajectory>')
    return parts


def _check(task: str) -> None:
    if not task.strip():
        raise RewardModelError('the instruction is empty; a vision-language critic needs to know the task')
