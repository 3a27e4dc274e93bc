# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Every kind of reward model beside the baselines, each on attempts at the demo task that it can judge.

Shipped weights where there are some; a typed program that passed its admission; and a small vision-language
model with random weights, which must be refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from apprentice.bench import mpc
from apprentice.bench.reward_table import Watch, cell, judge_all, make_verdict
from apprentice.reward_models.base import RewardModel, RewardModelError
from apprentice.reward_models.evaluation.evaluate import Judgement
from apprentice.reward_models.evaluation.showing import Truth
from apprentice.reward_models.evaluation.verdict import Verdict
from apprentice.robot.parts import load_part, share

TASK = 'pick'
COLUMNS = (
    'voc',
    'voc_rewound',
    'auroc',
    'auroc_near',
    'pair_accuracy',
    'margin',
    'ece',
    'false_success',
    'static_credit',
    'truth',
)
GOLDEN = range(41_000_000, 41_000_030)  # seeds of the admission tests, as of `apprentice reward check`
FEW = 12  # attempts for a vision-language model on a CPU


@dataclass(frozen=True)
class Kind:
    """A kind of reward model.

    Attributes:
        title: of its row.
        part: ``package.module:Class``; weights: folder; options: of its ``load``.
        text: the only instruction it knows; empty: all.
        few: judged on FEW attempts, because it is slow.
    """

    title: str
    part: str
    weights: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    text: str = ''
    few: bool = False

    @property
    def attempts(self) -> str:
        """Name of the attempts it is judged on."""
        return f'"{self.text}"' if self.text else f'{FEW} of them' if self.few else 'all'


def kinds(folder: Path) -> list[Kind]:
    """All of them; what is not shipped is made in ``folder``. ImportError without transformers."""
    models = 'apprentice.reward_models'
    shipped = {
        'critic': f'{models}.critic:ProgressCritic',
        'clip': f'{models}.clip:ClipReward',
        'preference': f'{models}.preferences.reward:PreferenceReward',
        'perceptual': f'{models}.perceptual.reward:PerceptualReward',
        'world_model': f'{models}.world_model.reward:WorldModelReward',
    }
    found = [Kind(name, part, share('weights', name)) for name, part in shipped.items()]
    program = Kind(
        'program', f'{models}.programs.model:TermsReward', folder / 'program', text=mpc.TASKS[TASK]
    )
    admitted_program(program.weights)
    small = {'image_size': 56}
    vlm = Kind('random VLM', f'{models}.vlm.critic:VlmCritic', folder / 'vlm', small, few=True)
    _random_vlm(vlm.weights)
    return [*found, program, vlm]


def admitted_program(folder: Path) -> None:
    """Terms typed by hand as a language model would, through the tests of `apprentice reward check`.

    Raises RewardModelError with what failed.
    """
    import numpy as np

    from apprentice.learning.golden import golden_buffer
    from apprentice.reward_models.programs import folder as folders
    from apprentice.reward_models.programs.admission import admit, with_ranges
    from apprentice.reward_models.programs.task import RewardTask, described

    spec, task = mpc.setup(TASK)
    golden = golden_buffer(spec, mpc.TASKS[TASK], GOLDEN, task)
    examples = {name: np.concatenate([each.state[name] for each in golden]) for name in golden[0].state}
    told = RewardTask(mpc.TASKS[TASK], described(examples), spec.name)
    typed = folders.Written('terms', json.dumps(mpc.TERMS[TASK]), told, (0.0, 1000.0))
    program = with_ranges(typed, golden)
    folders.write(folder, program)
    checks, locks = admit(program, golden)
    folders.write_admission(folder, program, [asdict(check) for check in checks], locks)
    folders.approve(folder, 'apprentice bench rewards')


def _random_vlm(folder: Path) -> None:
    from apprentice.bench.small_vlm import qwen2_5_vl

    folder.mkdir(parents=True)
    qwen2_5_vl(folder)


def judge_kinds(
    wanted: Sequence[Kind], items: Sequence[Truth], stride_s: float, seed: int, watch: Watch
) -> tuple[list[str], dict[str, Verdict]]:
    """Markdown tables, one for each set of attempts, and title -> verdict."""
    lines: list[str] = []
    verdicts: dict[str, Verdict] = {}
    for name in dict.fromkeys(kind.attempts for kind in wanted):
        group = [kind for kind in wanted if kind.attempts == name]
        some = [item for item in items if not group[0].text or item.text == group[0].text]
        if group[0].few:
            good = [item for item in some if item.success and not item.moved]
            bad = [item for item in some if not item.success and not item.moved]
            some = [*good[: FEW // 2], *bad[: FEW // 2]]
        if len({item.success for item in some}) < 2:
            raise ValueError(f'attempts {name} hold no success or no failure; give more --attempts')
        rows: dict[str, Judgement] = {}
        baselines: dict[str, Judgement] = {}
        for kind in group:
            model = _load(kind)
            result = judge_all(model, {name: some}, stride_s, seed=seed, watch=watch,
                               with_baselines=not baselines)  # fmt: skip
            own, *others = result
            rows[kind.title] = result[own][name]
            baselines |= {other: result[other][name] for other in others}
            against = {own: result[own], **{other: {name: each} for other, each in baselines.items()}}
            verdicts[kind.title] = make_verdict(model, str(kind.weights), against, f'simulator: {TASK}')
        lines += _table(name, rows, baselines, verdicts)
    return lines, verdicts


def _load(kind: Kind) -> RewardModel:
    try:
        return load_part(kind.part).load(kind.weights, **kind.options)
    except RewardModelError as error:
        raise RewardModelError(f'{kind.title}: {error}') from None


def _table(
    name: str,
    rows: Mapping[str, Judgement],
    baselines: Mapping[str, Judgement],
    verdicts: Mapping[str, Verdict],
) -> list[str]:
    counts = {kind: n for kind, n in next(iter(rows.values())).counts.items() if kind != 'false_success'}
    lines = [
        f'**attempts at {TASK}, {name}**: ' + ', '.join(f'{n} {kind}' for kind, n in counts.items()),
        '',
        '| | ' + ' | '.join(COLUMNS) + ' | the learner |',
        '|---' * (len(COLUMNS) + 2) + '|',
    ]
    for title, judged in [*rows.items(), *baselines.items()]:
        said = ''
        if title in verdicts:
            losses = verdicts[title].losses
            said = 'refuses it: ' + '; '.join(losses) if losses else 'takes it'
        never = judged.counts.get('never valid', 0)
        said += f' (not valid in {never} attempts)' if never else ''
        cells = ' | '.join(cell(column, judged.numbers) for column in COLUMNS)
        lines.append(f'| {title} | {cells} | {said} |')
    return [*lines, '']
