# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Statistics against known values, and the files of a report."""

import json
import math

import numpy as np
import pytest

from apprentice.learning.report import Curve, Report, Trial, success_line, table, write
from apprentice.learning.statistics import (
    Sample,
    agreement,
    mcnemar,
    paired,
    ranks,
    roc_auc,
    spearman,
    wilson,
)


@pytest.mark.parametrize(
    ('k', 'n', 'low', 'high'),
    [(9, 10, 0.5958, 0.9821), (10, 10, 0.7225, 1.0), (0, 10, 0.0, 0.2775), (15, 50, 0.1910, 0.4375)],
)
def test_wilson_known_values(k, n, low, high):
    assert wilson(k, n) == pytest.approx((low, high), abs=5e-4)


def test_wilson_of_nothing_and_of_nonsense():
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match='impossible'):
        wilson(3, 2)


def test_mcnemar_exact():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(0, 5) == pytest.approx(2 / 32)
    assert mcnemar(1, 9) == pytest.approx(2 * 11 / 1024)
    assert mcnemar(4, 4) == 1.0


def test_paired_counts():
    result = paired([True, True, False, False, False], [True, False, True, True, False])
    assert (result.both, result.only_before, result.only_after, result.neither) == (1, 1, 2, 1)
    with pytest.raises(ValueError, match='same starts'):
        paired([True], [])


def test_ranks_and_spearman():
    assert ranks([10, 20, 20, 5]).tolist() == [2.0, 3.5, 3.5, 1.0]
    assert spearman([1, 2, 3, 4], [1, 4, 9, 16]) == pytest.approx(1.0)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1.0)
    assert spearman([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]) == pytest.approx(0.8208, abs=1e-4)
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_auc():
    assert roc_auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True]) == pytest.approx(0.75)
    assert roc_auc([1, 1], [True, False]) == 0.5
    assert math.isnan(roc_auc([1, 2], [True, True]))


def test_agreement_joins_by_stamp():
    truth = [Sample('', 0.1 * i, i / 20, float(i >= 15)) for i in range(21)]
    good = [
        Sample('a', 0.5, 0.2, 0.1),
        Sample('a', 1.0, 0.6, 0.2),
        Sample('b', 1.5, 0.7, 0.9),
        Sample('b', 9.0, 0.0, 0.0),
    ]
    result = agreement(good, truth)
    assert result['samples'] == 3  # the sample at 9 s has no truth
    assert result['episodes'] == 2
    assert result['progress_spearman'] == pytest.approx(1.0)
    assert result['success_auc'] == 1.0
    assert agreement(good, [])['samples'] == 0


def trial(seed, success, interventions=0):
    return Trial(
        f'e-{seed}',
        seed,
        'SUCCESS' if success else 'FAILURE',
        'PREDICATE',
        5.0,
        100,
        20 * interventions,
        interventions,
    )


@pytest.fixture
def report():
    generator = np.random.default_rng(0)
    return Report(
        session_id='s',
        seed=3,
        finished=True,
        before=[trial(i, i < 3) for i in range(10)],
        learning=[trial(100 + i, generator.random() < 0.6, int(i % 3 == 0)) for i in range(30)],
        after=[trial(i, i != 0) for i in range(10)],
        agreement={
            'clip': {'samples': 40, 'episodes': 9, 'progress_spearman': 0.81, 'success_auc': math.nan}
        },
        frames={'front': {'received': 990, 'dropped': 10}},
        command={'per_robot_s': 20.0, 'per_wall_s': 71.5},
        weights={'published': 4, 'active': 4, 'train_steps': 800},
        loss=[(10.0, 1.0), (20.0, 0.5), (30.0, math.nan)],
        wall_s={'learn': 20.0},
        robot_s={'learn': 70.0},
        curves=[Curve('e-1', 'clip', [0.0, 1.0], [0.1, 0.6])],
    )


def test_table_says_what_was_measured(report):
    text = table(report)
    for part in (
        '3/10',
        '9/10',
        '[60, 98]',
        'only before 1, only after 7',
        '10 of 1000',
        '3.50',
        'AUC undefined',
    ):
        assert part in text
    assert 'partial' not in text
    report.finished = False
    assert 'partial' in table(report)


def test_a_helped_success_does_not_count():
    assert success_line([trial(0, True, interventions=1), trial(1, True)]).startswith('1/2')


def test_files(report, tmp_path):
    paths = write(report, tmp_path / 'report')
    data = json.loads(paths['result.json'].read_text())
    assert data['success_after'] == pytest.approx(
        {'successes': 9, 'trials': 10, 'low': 0.5958, 'high': 0.9821}, abs=1e-3
    )
    assert data['agreement']['clip']['success_auc'] is None
    assert data['paired']['only_after'] == 7
    assert paths['plot.png'].read_bytes().startswith(b'\x89PNG')
    assert paths['table.txt'].read_text() == table(report)
    assert sorted(p.name for p in paths['table.txt'].parent.iterdir()) == [
        'plot.png',
        'result.json',
        'table.txt',
    ]


def test_an_empty_report_is_still_a_report(tmp_path):
    paths = write(Report(), tmp_path)
    assert 'not run' in paths['table.txt'].read_text()
    assert paths['plot.png'].exists()
