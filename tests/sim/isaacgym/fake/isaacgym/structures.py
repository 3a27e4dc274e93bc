# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The library's plain structures. Setting a field that the real one does not have fails, as it does there."""

import json
import os

import numpy as np


class ContractError(Exception):
    """A call the library would not survive, or answer with garbage."""


def need(condition, message):
    if not condition:
        raise ContractError(message)


def method(*types):
    """Check the number and the types of positional arguments, as the library's bindings do."""

    def wrap(function):
        def checked(self, *arguments, **named):
            need(len(arguments) == len(types), f'{function.__name__}: {len(arguments)} arguments')
            for position, (value, kind) in enumerate(zip(arguments, types)):
                kinds = {int: (int, np.integer), float: (int, float)}.get(kind, kind)
                if not isinstance(value, kinds):
                    text = '{}: argument {} is {}, not {}'
                    raise TypeError(text.format(function.__name__, position, type(value), kind))
            return function(self, *arguments, **named)

        return checked

    return wrap


def structure(name, **defaults):
    """A class with these fields, given in order or later."""

    def __init__(self, *values):
        if len(values) > len(defaults):
            raise TypeError(f'{name} takes {len(defaults)} values')
        for field, default in defaults.items():
            setattr(self, field, default() if callable(default) else default)
        for field, value in zip(defaults, values):
            setattr(self, field, value)

    def __setattr__(self, field, value):
        if field not in defaults:
            raise AttributeError(f'{name} has no {field}')
        default = defaults[field]
        default = default() if callable(default) else default
        number = isinstance(default, (int, float)) and not isinstance(default, bool)
        if number and not isinstance(value, (int, float, np.number)):
            raise TypeError(f'{name}.{field} is a number')
        if not number and default is not None and not isinstance(value, type(default)):
            raise TypeError(f'{name}.{field} is a {type(default).__name__}')
        object.__setattr__(self, field, value)

    return type(name, (), {'__init__': __init__, '__setattr__': __setattr__, 'fields': tuple(defaults)})


Vec3 = structure('Vec3', x=0.0, y=0.0, z=0.0)
Quat = structure('Quat', x=0.0, y=0.0, z=0.0, w=1.0)
Transform = structure('Transform', p=Vec3, r=Quat)
Mat33 = structure('Mat33', x=Vec3, y=Vec3, z=Vec3)
PlaneParams = structure(  # franka_cube_stack.py, factory_base.py
    'PlaneParams',
    normal=lambda: Vec3(0.0, 1.0, 0.0),
    distance=0.0,
    static_friction=1.0,
    dynamic_friction=1.0,
    restitution=0.0,
    segmentation_id=0,
)
PhysXParams = structure(  # vec_task.py, cfg/task/*.yaml
    'PhysXParams',
    num_threads=0,
    use_gpu=False,
    solver_type=1,
    num_subscenes=0,
    num_position_iterations=4,
    num_velocity_iterations=1,
    contact_offset=0.02,
    rest_offset=0.001,
    bounce_threshold_velocity=0.2,
    max_depenetration_velocity=100.0,
    default_buffer_size_multiplier=2.0,
    max_gpu_contact_pairs=1048576,
    friction_offset_threshold=0.04,
    friction_correlation_distance=0.025,
    contact_collection=0,
)
SimParams = structure(
    'SimParams',
    dt=1 / 60,
    substeps=2,
    up_axis=0,
    gravity=lambda: Vec3(0.0, -9.8, 0.0),
    use_gpu_pipeline=False,
    num_client_threads=0,
    physx=PhysXParams,
)
AssetOptions = structure(  # tasks/*.py: every field that is set there
    'AssetOptions',
    fix_base_link=False,
    disable_gravity=False,
    collapse_fixed_joints=False,
    flip_visual_attachments=False,
    replace_cylinder_with_capsule=False,
    linear_damping=0.0,
    angular_damping=0.5,
    max_angular_velocity=64.0,
    armature=0.0,
    thickness=0.02,
    density=1000.0,
    default_dof_drive_mode=0,
    use_mesh_materials=False,
    vhacd_enabled=False,
)
CameraProperties = structure(
    'CameraProperties',
    width=1600,
    height=900,
    horizontal_fov=90.0,
    near_plane=0.01,
    far_plane=2000.0,
    enable_tensors=False,
    use_collision_geometry=False,
    supersampling_horizontal=1,
    supersampling_vertical=1,
)
RigidBodyProperties = structure('RigidBodyProperties', mass=0.0, com=Vec3, inertia=Mat33, flags=0)
RigidShapeProperties = structure(
    'RigidShapeProperties',
    friction=1.0,
    rolling_friction=0.0,
    torsion_friction=0.0,
    restitution=0.0,
    compliance=0.0,
    contact_offset=0.0,
    rest_offset=0.0,
    thickness=0.0,
    filter=0,
)
IndexRange = structure('IndexRange', start=0, count=0)
DOF_FIELDS = (
    [('hasLimits', '?'), ('lower', '<f4'), ('upper', '<f4'), ('driveMode', '<i4')]
    + [(name, '<f4') for name in ('stiffness', 'damping', 'velocity', 'effort', 'friction', 'armature')]
)  # fmt: skip


class Tensor:
    """What the tensor API hands out: shared memory, readable once the simulation is prepared."""

    def __init__(self, values, readable=lambda: None):
        self.values, self.check = values, readable


def record(env, handle, what, values):
    """A line in the file that tests read, if they named one."""
    path = os.environ.get('FAKE_ISAACGYM_RECORD')
    if path:
        line = {'sim': env.sim.envs.index(env), 'actor': env.actors[handle].name, 'what': what}
        with open(path, 'a') as file:
            file.write(json.dumps(dict(line, values=values)) + '\n')


class Sim:
    pass


class Env:
    pass
