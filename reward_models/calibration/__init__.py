# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""From what models measured to potentials that may be mixed: calibration, ensembles, trust, being done."""
