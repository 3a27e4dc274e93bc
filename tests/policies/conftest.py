# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Connections to policy servers, closed with the test."""

import pytest
from remote_rig import TOKEN

from apprentice.policies.remote import load


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / 'token'
    file.write_text(TOKEN + '\n')
    file.chmod(0o600)
    return file


@pytest.fixture
def connect(token_file):
    """``connect(address)`` is the RemotePolicy of a server that knows TOKEN."""
    made = []

    def connect(address, **options):
        policy, _ = load(address, **{'token_file': token_file, 'timeout_s': 5.0, **options})
        made.append(policy)
        return policy

    yield connect
    for policy in made:
        policy.close()
