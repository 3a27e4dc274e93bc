# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Apprentice's flow policy as a policy of LeRobot. Importing it registers the policy type ``apprentice``."""

try:
    import lerobot  # noqa: F401
except ImportError:
    raise ImportError("this plug-in needs LeRobot: pip install 'lerobot>=0.4,<0.5'") from None
try:
    import apprentice.policies  # noqa: F401
except ImportError:
    raise ImportError('this plug-in needs apprentice: pip install the folder of its repository') from None

from lerobot_policy_apprentice.configuration_apprentice import ApprenticeConfig
from lerobot_policy_apprentice.modeling_apprentice import ApprenticePolicy
from lerobot_policy_apprentice.processor_apprentice import make_apprentice_pre_post_processors

__all__ = ['ApprenticeConfig', 'ApprenticePolicy', 'make_apprentice_pre_post_processors']
