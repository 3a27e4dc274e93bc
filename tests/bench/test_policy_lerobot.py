# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Our rows of the bench beside LeRobot's policies, with small sizes, and that both sides get equal tasks."""

import argparse

import pytest

from apprentice.bench import policy_lerobot as bench

pytest.importorskip('transformers', reason="pip install 'apprentice[vla]'")
SMALL = {
    'text': {**bench.SMOL['text'], 'hidden_size': 32, 'intermediate_size': 48, 'num_hidden_layers': 2,
             'num_attention_heads': 4, 'num_key_value_heads': 2, 'head_dim': 8},
    'vision': {**bench.SMOL['vision'], 'hidden_size': 32, 'intermediate_size': 48, 'num_hidden_layers': 1,
               'num_attention_heads': 2, 'image_size': 32},
    'scale': 2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(bench, 'TINY', {'width': 32, 'layers': 1, 'heads': 2, 'channels': [8, 8, 16]})
    monkeypatch.setattr(bench, 'TINY_EXPERT', {'width': 32, 'layers': 1})
    monkeypatch.setattr(bench, 'SMOL', SMALL)
    monkeypatch.setattr(
        bench, 'SMOL_EXPERT', {'width': 32, 'layers': 2, 'heads': 4, 'rope_theta': -1}
    )  # fmt: skip


@pytest.mark.parametrize('what', ['plan', 'train'])
@pytest.mark.parametrize('kind', ['act', 'smolvla'])
def test_our_rows(kind, what):
    row = bench.run(kind, what, {**bench.TASK, 'side': 32, 'batch': 2}, 0.05)
    assert row['value'] > 0
    assert row['count'] >= (2 if what == 'train' else 1)
    trained, all_of_it = row['also']['M trained'], row['also']['M parameters']
    assert (trained == all_of_it) == (kind == 'act')  # the SmolVLM is frozen


def test_both_sides_get_the_same_task():
    for case in bench.cases(argparse.Namespace(batch=4, seconds=1.0)):
        theirs, ours = (contestant.parameters for contestant in case.contestants)
        assert theirs['task'] == ours['task']
        assert theirs['kind'] == ours['kind']
