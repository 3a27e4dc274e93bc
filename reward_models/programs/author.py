# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A language model writes a reward: asked, checked, told of errors, criticised, improved by trials.

Retries with errors as in arXiv 2306.08647; critic of arXiv 2312.09238; best of several samples over
iterations with reflection on the best, arXiv 2310.12931; what a person saw, arXiv 2309.11489.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.programs import prompts, reflection
from apprentice.reward_models.programs.endpoint import Endpoint, Message
from apprentice.reward_models.programs.folder import Written
from apprentice.reward_models.programs.forms import make_form
from apprentice.reward_models.programs.journal import Journal
from apprentice.reward_models.programs.reflection import Trial
from apprentice.reward_models.programs.residuals import catalogue
from apprentice.reward_models.programs.sandbox.process import SandboxError
from apprentice.reward_models.programs.syntax import ProgramError
from apprentice.reward_models.programs.task import RewardTask
from apprentice.reward_models.programs.terms import TermsError

_BLOCK = re.compile(r'```[ \t]*([A-Za-z]*)[ \t]*\n(.*?)```', re.DOTALL)
_LANGUAGES = {'terms': ('json', ''), 'python': ('python', 'py', '')}
_log = logging.getLogger(__name__)


class AuthorError(ValueError):
    """No usable reward came out; the text says what was wrong with the last reply."""


@dataclass(frozen=True)
class AuthorConfig:
    """How a reward is asked for.

    Attributes:
        form: ``terms`` or ``python``.
        bounds: smallest and largest value it may give.
        retries: how often a reply that cannot be used is sent back with the error.
        critics: how often the critic may send a reply back; 0 leaves the critic out.
        samples, iterations: of the search.
        temperature: of the author; the critic has 0.
    """

    form: str = 'terms'
    bounds: tuple[float, float] = (-1e6, 1e6)
    retries: int = 3
    critics: int = 1
    samples: int = 1
    iterations: int = 1
    temperature: float = 0.7


@dataclass(frozen=True)
class Draft:
    """A reply that passed the checks."""

    program: Written
    reply: str


@dataclass
class Search:
    """What a search found.

    Attributes:
        best: the draft with the most success; the first of equals.
        trial: of the best; None where nothing was tried out.
        history: a line a sample: name, success or what went wrong.
    """

    best: Draft
    trial: Trial | None
    history: list[dict] = field(default_factory=list)


class Author:
    """Asks an endpoint for rewards of one task; everything is in the journal.

    Args:
        probe: uses a draft on example states and raises ProgramError, TermsError or RewardModelError with a
            text for the language model.
    """

    def __init__(
        self, task: RewardTask, endpoint: Endpoint, journal: Journal, config: AuthorConfig | None = None,
        probe: Callable[[Written], None] | None = None,
    ):  # fmt: skip
        self.task, self.endpoint, self.journal = task, endpoint, journal
        self.config, self.probe = config or AuthorConfig(), probe
        self.first = prompts.author(task, self.config.form, catalogue(task.residuals), self.config.bounds)

    def draft(self, name: str, messages: Sequence[Message]) -> Draft:
        """One reward that passes the checks. Raises AuthorError after the last retry, or EndpointError."""
        conversation, why, critics = list(messages), '', self.config.critics
        for attempt in range(self.config.retries + 1):
            label = f'{name}-{attempt}'
            reply = self.journal.ask(label, self.endpoint, conversation, self.config.temperature)
            conversation.append(Message('assistant', reply))
            try:
                program = self._checked(reply)
            except (ProgramError, TermsError, RewardModelError) as error:
                why = str(error)
                _log.info('%s cannot be used: %s', label, why)
                conversation.append(prompts.refused(why))
                continue
            if critics > 0 and attempt < self.config.retries:
                critics -= 1
                asked = prompts.critic(self.task, reply)
                verdict = self.journal.ask(f'{label}-critic', self.endpoint, asked, 0.0).strip()
                if not verdict.upper().startswith('ACCEPT'):
                    why = f'a reviewer says: {verdict}'
                    conversation.append(prompts.refused(why))
                    continue
            return Draft(program, reply)
        raise AuthorError(f'no usable reward after {self.config.retries + 1} replies; the last: {why}')

    def search(self, trial: Callable[[Written], Trial] | None = None, human: Sequence[str] = ()) -> Search:
        """The best reward of several samples and iterations.

        The context of an iteration is the first question, the best reply so far and what came of it,
        nothing else.

        Args:
            trial: uses a reward and says how often it led to success; without one the first draft is taken.
            human: what a person saw; the author is told after the first draft, one turn each.

        Raises AuthorError if no sample could be used.
        """
        history: list[dict] = []
        best: Search | None = None
        messages, why = list(self.first), ''
        for iteration in range(self.config.iterations):
            for sample in range(self.config.samples):
                name = f'{iteration:02d}-{sample:02d}'
                try:
                    draft = self.draft(name, messages)
                    found = None if trial is None else self._tried(name, draft, trial)
                except (AuthorError, ProgramError, RewardModelError) as error:
                    why = str(error)
                    history.append({'name': name, 'error': why})
                    continue
                success = None if found is None else found.success
                history.append({'name': name, 'sha256': draft.program.sha256, 'success': success})
                if best is None or (found is not None and best.trial and found.success > best.trial.success):
                    best = Search(draft, found)
                if trial is None:
                    break
            if best is not None and best.trial is not None:
                told = prompts.reflection(reflection.table(best.trial), best.trial.success)
                messages = [*self.first, Message('assistant', best.best.reply), told]
            self.journal.note('search', {'history': history})
        if best is None:
            raise AuthorError(f'none of the samples could be used; the last: {why}')
        for turn, seen in enumerate(human):
            asked = [*self.first, Message('assistant', best.best.reply), prompts.human(seen)]
            draft = self.draft(f'human-{turn:02d}', asked)
            best = Search(draft, None if trial is None else self._tried(f'human-{turn:02d}', draft, trial))
            history.append({'name': f'human-{turn:02d}', 'sha256': draft.program.sha256})
        self.journal.note('search', {'history': history, 'best': best.best.program.sha256})
        best.history = history
        return best

    def _checked(self, reply: str) -> Written:
        source = block(reply, self.config.form)
        program = Written(self.config.form, source, self.task, self.config.bounds)
        make_form(program.form, source, self.task.sizes, self.task.residuals).close()
        if self.probe is not None:
            self.probe(program)
        return program

    def _tried(self, name: str, draft: Draft, trial: Callable[[Written], Trial]) -> Trial:
        def measure() -> dict:
            try:
                return asdict(trial(draft.program))
            except SandboxError as error:  # a program that is stopped has no success
                raise ProgramError(str(error)) from None

        return Trial(**self.journal.once(f'{name}-trial', draft.program.sha256, measure))


def block(reply: str, form: str) -> str:
    """The program in a reply: the last fenced block of its language, or the whole reply where that is JSON.

    Raises ProgramError if there is none.
    """
    blocks = [text for language, text in _BLOCK.findall(reply) if language.lower() in _LANGUAGES[form]]
    if blocks:
        return blocks[-1].strip() + '\n'
    if form == 'terms' and reply.strip()[:1] in '[{' and reply.strip():
        return reply.strip() + '\n'
    fence = _LANGUAGES[form][0]
    raise ProgramError(f'there is no block between ```{fence} and ``` in the reply')
