# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What `apprentice label` asks on its page, without a browser."""

from __future__ import annotations

import pytest
from label_rig import SPEC, make, record

from apprentice.cli.label_panels import PairPanel, VerdictPanel
from apprentice.episodes.answers import FILE, Answer, AnswerFile, Stretch, StretchPair
from apprentice.episodes.audits import AuditFile
from apprentice.episodes.doubts import ending_of
from apprentice.episodes.labels import label_path, read_label, write_label
from apprentice.episodes.sources import readers_by_name
from apprentice.learning.preference.desk import Desk, DeskConfig
from apprentice.learning.preference.selection import SelectionConfig
from apprentice.nodes.asking import EpisodeQuestion
from apprentice.robot.types import Outcome


def said(done, text):
    assert done, text


def answer(panel):
    """Prefer the left one of the pair on the page; False: none is there."""
    question = panel.report()['question']
    if question is None:
        return False
    pair = StretchPair(question['instruction'], Stretch(**question['left']), Stretch(**question['right']))
    panel.take_pair(Answer(pair, 'left', 'anna'), said)
    return True


@pytest.mark.parametrize('wanted', [0, 7])
def test_asking_goes_on_while_pairs_are_chosen_and_ends_when_there_are_none(tmp_path, wanted):
    run = record(tmp_path, [make(number) for number in range(4)])
    folder = run / 'episodes'
    desk = Desk(
        AnswerFile(folder / FILE), SPEC.action_dt, None, SelectionConfig(seconds=1.5),
        DeskConfig(ahead=2, repeat_every=0),
    )  # fmt: skip
    panel = PairPanel(desk, readers_by_name([folder], SPEC), SPEC, [folder], wanted=wanted)
    while panel.work():
        pass
    count = 0
    while not panel.finished:
        while answer(panel):
            count += 1
            if wanted and count == wanted:
                break
        if count < (wanted or 24):
            assert not panel.finished, f'after {count} answers, while the next pairs are chosen'
            assert 'Choosing' in panel.note()
        panel.work()
    # of 4 episodes with 2 stretches each: 6 pairs of episodes, 4 of stretches
    assert count == (wanted or 24)
    assert ('that is all' if wanted else 'no further pair') in panel.note()


@pytest.mark.parametrize('before', [None, Outcome.FAILURE])
def test_cannot_tell_takes_an_earlier_verdict_back(tmp_path, before):
    run = record(tmp_path, [make(5), make(6)])
    paths = sorted((run / 'episodes').glob('*.mcap'))
    if before is not None:
        write_label(paths[0], before, 'bo')
    content = label_path(paths[0]).read_bytes() if before is not None else None
    audits = AuditFile(run / 'episodes' / 'audit.jsonl')
    endings = [(ending_of(path), 'look') for path in paths]
    panel = VerdictPanel(endings, SPEC, [run / 'episodes'], 'anna', audits)
    question = EpisodeQuestion(paths[0].stem, 'pick', 3.0, 'look')
    for outcome in (Outcome.FAILURE, Outcome.SUCCESS, Outcome.FAILURE):
        panel.take_verdict(question, outcome, 'anna', said)
    assert (panel.corrected, [audit.right for audit in audits.read()]) == (1, [False])
    panel.take_verdict(question, None, 'anna', said)
    assert read_label(paths[0]) == before
    assert content is None or label_path(paths[0]).read_bytes() == content
    assert (panel.corrected, audits.read(), audits.read(all_of_them=True)) == (0, [], [])
    panel.take_verdict(question, Outcome.SUCCESS, 'anna', said)
    assert (read_label(paths[0]), audits.read()[0].right) == (Outcome.SUCCESS, True)
    panel.close()
