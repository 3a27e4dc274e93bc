# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Two learners never share a run folder; a killed one does not keep it."""

import os
import signal
import subprocess
import sys

import pytest

from apprentice.learning.run_lock import lock_run

HOLD = """
import sys, time
from apprentice.learning.run_lock import lock_run
kept = lock_run(sys.argv[1])
print('held', flush=True)
time.sleep(60)
"""


def test_a_second_learner_is_refused_until_the_first_is_gone(tmp_path):
    process = subprocess.Popen([sys.executable, '-c', HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == 'held'
    with pytest.raises(OSError, match=rf'process {process.pid}.*another run_dir'):
        lock_run(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with lock_run(tmp_path) as file:
        file.seek(0)
        assert file.read() == str(os.getpid())
    lock_run(tmp_path).close()
