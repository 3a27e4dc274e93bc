# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""MuJoCo robots, worlds, tasks, people. GL is chosen here, before anything imports mujoco."""

import os

os.environ.setdefault('MUJOCO_GL', 'egl')
# one raster thread a process: the graph already fills the cores (read by Mesa at its first GL call)
os.environ.setdefault('LP_NUM_THREADS', '0')
