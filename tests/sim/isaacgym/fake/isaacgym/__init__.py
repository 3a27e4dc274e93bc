# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A contract fake of Isaac Gym: its names, signatures, tensor shapes and order of calls, no PhysX.

Signatures as they are used in public code, named beside each group of methods (IsaacGymEnvs, BSD-3; others by
name). It refuses what the library would answer with a crash or with garbage. Runs under Python 3.6 too.
"""

import os
import sys

__version__ = 'fake'

if 'torch' in sys.modules:  # the library refuses this order as well
    raise ImportError(
        'PyTorch was imported before isaacgym modules. Please import torch after isaacgym modules.'
    )
if os.environ.get('FAKE_ISAACGYM') == 'broken':
    raise ImportError('libpython3.8.so.1.0: cannot open shared object file: No such file or directory')
