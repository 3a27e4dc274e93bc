# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the language model is told. The words are ours; the ideas are of the papers named at each text."""

from __future__ import annotations

from collections.abc import Mapping

from apprentice.reward_models.programs.endpoint import Message
from apprentice.reward_models.programs.norms import PARAMETERS
from apprentice.reward_models.programs.residuals import Residual
from apprentice.reward_models.programs.syntax import MATH, NUMPY
from apprentice.reward_models.programs.task import RewardTask

# two steps in one reply, describe then write: arXiv 2306.08647; typed stubs and typical parts: 2309.11489
_TERMS = """You write cost functions for a robot, as data. First say in two or three sentences how the robot
has to move to fulfil the instruction, in order. Then give one JSON block between ```json and ```:

{{"terms": [{{"residual": NAME, "of": [STATE NAMES], "target": [NUMBERS], "norm": NAME, "weight": NUMBER,
             "gate": [{{"residual": NAME, "of": [STATE NAMES], "below": NUMBER, "softness": NUMBER}}]}}]}}

cost = sum of weight * gate * norm(residual - target); the robot makes it small.
- residuals (name, how many state names it takes, what it is):
{residuals}
- norms: {norms}. smooth_abs and l2 grow in proportion, quadratic with the square.
- a gate multiplies its term by a number from 0 to 1: it is open where the residual is "below" or "above" a
  number; give one of them. "softness" is the width of the transition.
- "target", "gate" and "of" may be left out where they are not needed.

Rules:
- Use only the names given here. Lengths are in metres, angles in radians, never millimetres or degrees.
- A later stage (grasp, lift) must cost less than an earlier one at its best: a term of a later stage that
  is always counted, and not only once its gate opens, achieves that.
- Do not reward what can be had without the task: standing still near the goal, pushing the thing instead of
  lifting.
- At most 10 terms. Weights between 0.01 and 20."""

# signature, exponential shaping and components: arXiv 2310.12931; the sparse and dense pair: 2312.09238
_PROGRAM = """You write reward functions for a robot in Python with numpy. First say in two or three
sentences how the robot has to move to fulfil the instruction, in order. Then give one block between
```python and ```:

def reward(state, previous):
    # state and previous (one step before) are dicts; every entry is an array [N, numbers], see State
    # returns the reward [N] and a dict of at most 16 named components [N]; the reward is their sum
    ...
    return total, {{'reach': reach, 'lift': lift}}

- The names np and math are there; import nothing. np: {numpy}. math: {math}.
- Everything works on N states at once: reduce over axis=1, choose with np.where; no where= or out=. A state's
  reward must not depend on the other N - 1: compare with previous instead.
- Loops only over range(number) or a written out list; no while, no classes, no lambda, no underscore names.
- Lengths are in metres, angles in radians.
- Typical parts: distance of the hand to the thing; distance of the thing to its goal; a bonus once it is
  held; a small cost of velocity. Shape a distance d with np.exp(-d / temperature), one named temperature a
  component, so that every component is between 0 and its weight.
- The total must stay between {low:g} and {high:g} for every state, and must be finite.
- The reward depends on the state alone: nothing that grows with time, nothing for standing still."""

_TASK = """{stubs}

Instruction: {instruction}
{notes}"""

# arXiv 2312.09238, the reward critic: syntax, meaning, consistency with the description
_CRITIC = """You check a reward that somebody else wrote for a robot. Look for:
1. names, shapes and units that do not fit the state (metres, radians, [N, numbers]);
2. a stage that cannot be reached, or that is worth less than the one before it;
3. ways to collect reward without the task: standing still, going back and forth, pushing a thing out of
   reach;
4. sentences of the description that the reward does not express.
Answer with the word ACCEPT alone on the first line if none of these would matter, or with REVISE on the
first line and then what must be changed, in short sentences."""

# arXiv 2310.12931, reward reflection
_REFLECTION = """The reward was used. Each line has the mean of a component at 10 points of the trial, then
its largest, mean and smallest value; "success" is the share of trials that fulfilled the instruction so far.

{table}

Success at the end: {success:.0%}.
Look at each component: one that hardly changes is not being optimised: rescale or rewrite it, or leave it
out. One that is much larger than the others rules them: rescale it. If success stays at 0 the whole is
wrong: write it anew. Write an improved reward in the same form."""


def author(
    task: RewardTask, form: str, residuals: Mapping[str, Residual], bounds: tuple[float, float]
) -> list[Message]:
    """The first messages for a reward in the form ``terms`` or ``python``."""
    if form == 'terms':
        lines = [f'  {name} ({each.arguments}): {each.about}' for name, each in residuals.items()]
        system = _TERMS.format(residuals='\n'.join(lines), norms=', '.join(PARAMETERS))
    else:
        names = {'numpy': ' '.join(sorted(NUMPY)), 'math': ' '.join(sorted(MATH))}
        system = _PROGRAM.format(low=bounds[0], high=bounds[1], **names)
    asked = _TASK.format(stubs=task.stubs(), instruction=task.instruction, notes=task.notes)
    return [Message('system', system), Message('user', asked)]


def critic(task: RewardTask, reply: str) -> list[Message]:
    """The messages for the critic of a reply."""
    asked = _TASK.format(stubs=task.stubs(), instruction=task.instruction, notes=task.notes)
    return [Message('system', _CRITIC), Message('user', f'{asked}\n\nThe reply to check:\n\n{reply}')]


def refused(why: str) -> Message:
    """What a reply that cannot be used is answered with."""
    return Message('user', f'This cannot be used: {why}\nWrite the whole block again, corrected.')


def reflection(table: str, success: float) -> Message:
    """Statistics of the trial of a reward, and what to make of them."""
    return Message('user', _REFLECTION.format(table=table, success=success))


def human(seen: str) -> Message:
    """What a person saw the robot do (arXiv 2309.11489)."""
    return Message(
        'user', f'A person who watched the robot says: {seen}\nWrite an improved reward in the same form.'
    )
