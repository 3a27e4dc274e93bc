# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``isaacgym.gymapi``: signatures and order of calls checked, see __init__.py.

Behaviours for tests, in the environment variable FAKE_ISAACGYM: ``global`` (state tensors in world
coordinates), ``dies`` and ``hangs`` (in simulate), ``lingers`` (there, half a second), ``refuses``
(create_sim makes nothing). What is set is written to the file named by FAKE_ISAACGYM_RECORD.
"""

import copy
import os
import sys
import time

import numpy as np

from . import model
from .structures import *  # noqa: F403
from .structures import (
    DOF_FIELDS,
    AssetOptions,
    CameraProperties,
    Env,
    IndexRange,
    Mat33,
    PlaneParams,
    RigidBodyProperties,
    RigidShapeProperties,
    Sim,
    SimParams,
    Tensor,
    Transform,
    Vec3,
    method,
    need,
    record,
)

SIM_PHYSX, SIM_FLEX = 'SIM_PHYSX', 'SIM_FLEX'
UP_AXIS_Y, UP_AXIS_Z = 0, 1
DOF_MODE_NONE, DOF_MODE_POS, DOF_MODE_VEL, DOF_MODE_EFFORT = 0, 1, 2, 3
DOMAIN_ACTOR, DOMAIN_ENV, DOMAIN_SIM = 'actor', 'env', 'sim'
MESH_VISUAL, MESH_COLLISION, MESH_VISUAL_AND_COLLISION = 'visual', 'collision', 'both'
IMAGE_COLOR, IMAGE_DEPTH = 'color', 'depth'
RIGID_BODY_NONE, RIGID_BODY_DISABLE_GRAVITY = 0, 1
FOLLOW_POSITION, FOLLOW_TRANSFORM = 1, 2
_MODE = os.environ.get('FAKE_ISAACGYM', '')
_ALIVE = []


def acquire_gym():
    return Gym()


class Gym:
    # Making the scene: vec_task.py, franka_cube_stack.py; group and filter: create_actor there.
    @method(int, int, str, SimParams)
    def create_sim(self, compute, graphics, engine, params):
        if _MODE == 'refuses':
            return None
        need(not _ALIVE, 'one simulation a process')
        need(engine == SIM_PHYSX, 'the tensor API needs PhysX')
        need(params.use_gpu_pipeline == params.physx.use_gpu, 'GPU pipeline and GPU PhysX go together')
        sim = Sim()
        sim.params, sim.graphics, sim.gpu = params, graphics, params.use_gpu_pipeline
        sim.envs, sim.actors, sim.ground, sim.cameras = [], [], [], []
        sim.prepared = sim.fetched = sim.drawn = sim.rendered = sim.accessing = False
        sim.set, sim.tensors, sim.shown = set(), {}, []
        _ALIVE.append(sim)
        return sim

    @method(Sim)
    def destroy_sim(self, sim):
        _ALIVE.remove(sim)

    @method(Sim, PlaneParams)
    def add_ground(self, sim, plane):
        need(not sim.envs, 'add_ground comes before create_env')
        need(plane.normal.z == 1, 'only upright ground in this fake')
        sim.ground.append(-plane.distance)

    @method(Sim, str, str, AssetOptions)
    def load_asset(self, sim, root, file, options):
        need(not sim.prepared, 'load_asset comes before prepare_sim')
        need(sim.params.up_axis == UP_AXIS_Z, 'z is up')
        return model.Asset(root, file, options)

    @method(model.Asset)
    def get_asset_rigid_body_names(self, asset):
        return [asset.bodies[b]['name'] for b in asset.listed]

    @method(model.Asset)
    def get_asset_dof_names(self, asset):
        return [asset.joints[j]['name'] for j in asset.dofs]

    @method(model.Asset)
    def get_asset_dof_properties(self, asset):
        properties = np.zeros(len(asset.dofs), DOF_FIELDS)
        properties['driveMode'] = asset.options.default_dof_drive_mode
        for place, j in enumerate(asset.dofs):
            if asset.joints[j]['limited'] == 'true':
                limits = model.numbers(asset.joints[j]['range'])
                properties['hasLimits'][place] = True
                properties['lower'][place], properties['upper'][place] = limits
        return properties

    @method(Sim, Vec3, Vec3, int)
    def create_env(self, sim, lower, upper, per_row):
        need(not sim.prepared, 'create_env comes before prepare_sim')
        env, number = Env(), len(sim.envs)
        env.sim, env.actors, env.cameras = sim, [], []
        edge = np.array([upper.x - lower.x, upper.y - lower.y])
        env.origin = np.append(edge * [number % per_row, number // per_row], 0.0)
        sim.envs.append(env)
        return env

    @method(Env, model.Asset, Transform, str, int, int, int)
    def create_actor(self, env, asset, pose, name, group, collision_filter, segmentation):
        need(env is env.sim.envs[-1], 'the actors of one environment before the next is made')
        position, turn = [pose.p.x, pose.p.y, pose.p.z], [pose.r.x, pose.r.y, pose.r.z, pose.r.w]
        actor = model.Actor(asset, position, turn, name, group)
        actor.drives = self.get_asset_dof_properties(asset)
        actor.inertials = [RigidBodyProperties() for _ in asset.bodies]
        actor.shapes = [RigidShapeProperties() for body in asset.bodies for _ in body['geoms']]
        env.actors.append(actor)
        env.sim.actors.append((env, actor))
        return len(env.actors) - 1

    # Properties: humanoid.py, anymal_terrain.py, utils/dr_utils.py; shape ranges: utils of HORA and others.
    @method(Env, int)
    def get_actor_dof_properties(self, env, handle):
        return env.actors[handle].drives.copy()

    @method(Env, int, np.ndarray)
    def set_actor_dof_properties(self, env, handle, properties):
        need(properties.dtype == np.dtype(DOF_FIELDS), 'dof properties are a structured array')
        need(properties.shape == env.actors[handle].drives.shape, 'one row a dof')
        env.actors[handle].drives = properties.copy()
        record(env, handle, 'dof friction', properties['friction'].tolist())
        return True

    @method(Env, int)
    def get_actor_rigid_body_properties(self, env, handle):
        return copy.deepcopy(env.actors[handle].inertials)

    @method(Env, int, list)
    def set_actor_rigid_body_properties(self, env, handle, properties, recomputeInertia=False):
        need(not (env.sim.prepared and env.sim.gpu), 'masses cannot change while the GPU pipeline runs')
        for item in properties:
            inertia = np.array([[getattr(getattr(item.inertia, r), c) for c in 'xyz'] for r in 'xyz'])
            need(item.mass > 0 and isinstance(item.inertia, Mat33), 'mass above zero')
            need(np.all(np.linalg.eigvalsh(inertia) > 0), 'inertia is positive definite')
        env.actors[handle].inertials = copy.deepcopy(properties)
        record(env, handle, 'mass', [item.mass for item in properties])
        return True

    @method(Env, int)
    def get_actor_rigid_shape_properties(self, env, handle):
        return copy.deepcopy(env.actors[handle].shapes)

    @method(Env, int, list)
    def set_actor_rigid_shape_properties(self, env, handle, properties):
        need(len(properties) == len(env.actors[handle].shapes), 'one item a shape')
        env.actors[handle].shapes = copy.deepcopy(properties)
        record(env, handle, 'friction', [item.friction for item in properties])
        return True

    @method(Env, int)
    def get_actor_rigid_body_shape_indices(self, env, handle):
        ranges, start = [], 0
        for b in env.actors[handle].asset.listed:
            count = len(env.actors[handle].asset.bodies[b]['geoms'])
            ranges.append(IndexRange(start, count))
            start += count
        return ranges

    @method(Env, int, int, str, Vec3)
    def set_rigid_body_color(self, env, handle, body, kind, colour):
        need(kind == MESH_VISUAL, 'a kind of mesh')
        actor = env.actors[handle]
        actor.colours[actor.asset.listed[body]] = np.array([colour.x, colour.y, colour.z])

    # Indices: get_actor_index in humanoid.py and trifinger.py, the others by analogy of public code.
    @method(Env, int, str)
    def get_actor_index(self, env, handle, domain):
        need(domain == DOMAIN_SIM, 'used for tensors')
        return next(i for i, (_, actor) in enumerate(env.sim.actors) if actor is env.actors[handle])

    @method(Env, int, int, str)
    def get_actor_dof_index(self, env, handle, dof, domain):
        need(domain == DOMAIN_SIM, 'used for tensors')
        before = env.sim.actors[: self.get_actor_index(env, handle, DOMAIN_SIM)]
        return sum(len(actor.asset.dofs) for _, actor in before) + dof

    @method(Env, int, int, str)
    def get_actor_rigid_body_index(self, env, handle, body, domain):
        need(domain == DOMAIN_SIM, 'used for tensors')
        before = env.sim.actors[: self.get_actor_index(env, handle, DOMAIN_SIM)]
        return sum(len(actor.asset.bodies) for _, actor in before) + body

    @method(Env, int, int)
    def get_actor_rigid_body_handle(self, env, handle, body):
        return sum(len(actor.asset.bodies) for actor in env.actors[:handle]) + body

    @method(Env)
    def get_env_origin(self, env):
        return Vec3(*(float(value) for value in env.origin))

    @method(Sim)
    def get_sim_dof_count(self, sim):
        return sum(len(actor.asset.dofs) for _, actor in sim.actors)

    # The tensor API: vec_task.py (order), franka_cube_stack.py (shapes, indexed resets, int32 indices).
    @method(Sim)
    def prepare_sim(self, sim):
        need(sim.envs and not sim.prepared, 'prepare_sim once, after the environments')
        sim.prepared = sim.fetched = True
        return True

    def _acquire(self, sim, name, rows, columns):
        need(sim.prepared, f'prepare_sim comes before acquire_{name}')
        sim.tensors[name] = np.full((rows, columns), np.nan, np.float32)  # nothing there before a refresh
        return Tensor(sim.tensors[name])

    @method(Sim)
    def acquire_actor_root_state_tensor(self, sim):
        return self._acquire(sim, 'root', len(sim.actors), 13)

    @method(Sim)
    def acquire_dof_state_tensor(self, sim):
        return self._acquire(sim, 'dof', self.get_sim_dof_count(sim), 2)

    @method(Sim)
    def acquire_rigid_body_state_tensor(self, sim):
        return self._acquire(sim, 'body', sum(len(actor.asset.bodies) for _, actor in sim.actors), 13)

    def _fresh(self, sim, name):
        need(sim.fetched, 'refresh comes after fetch_results')
        need(name in sim.tensors, 'acquire comes before refresh')
        return sim.tensors[name]

    @staticmethod
    def _shift(env):
        return env.origin if _MODE == 'global' else np.zeros(3)

    @method(Sim)
    def refresh_actor_root_state_tensor(self, sim):
        tensor = self._fresh(sim, 'root')
        for row, (env, actor) in zip(tensor, sim.actors):
            row[:] = actor.root
            row[:3] += self._shift(env)
        return True

    @method(Sim)
    def refresh_dof_state_tensor(self, sim):
        rows = [(a.q[j], a.qd[j]) for _, a in sim.actors for j in a.asset.dofs]
        self._fresh(sim, 'dof')[:] = rows
        return True

    @method(Sim)
    def refresh_rigid_body_state_tensor(self, sim):
        tensor, row = self._fresh(sim, 'body'), 0
        for env, actor in sim.actors:
            poses = actor.poses()
            for b in actor.asset.listed:
                tensor[row] = np.append(poses[b], np.zeros(6))
                tensor[row, :3] += self._shift(env)
                row += 1
        return True

    def _indexed(self, sim, name, tensor, indices, count, columns):
        need(sim.prepared and sim.fetched, f'{name} is set between steps')
        need(name not in sim.set, f'{name} is set twice before a step: only one would count')
        sim.set.add(name)
        need(indices.values.dtype == np.int32 and len(indices.values) == count, 'int32 indices')
        need(tensor.values.dtype == np.float32 and tensor.values.shape[1] == columns, 'the whole tensor')
        need(len(set(indices.values.tolist())) == count, 'an actor once')
        return [(i, *sim.actors[i]) for i in indices.values]

    @method(Sim, Tensor, Tensor, int)
    def set_actor_root_state_tensor_indexed(self, sim, tensor, indices, count):
        for i, env, actor in self._indexed(sim, 'root', tensor, indices, count, 13):
            actor.root = tensor.values[i].astype(float)
            actor.root[:3] -= self._shift(env)
            need(abs(np.linalg.norm(actor.root[3:7]) - 1) < 1e-4, 'a unit quaternion')
        return True

    @method(Sim, Tensor, Tensor, int)
    def set_dof_state_tensor_indexed(self, sim, tensor, indices, count):
        starts = np.cumsum([0] + [len(actor.asset.dofs) for _, actor in sim.actors])
        for i, _, actor in self._indexed(sim, 'dof', tensor, indices, count, 2):
            need(len(actor.asset.dofs), 'an actor with dofs')
            for place, j in enumerate(actor.asset.dofs):
                actor.q[j], actor.qd[j] = tensor.values[starts[i] + place]
        return True

    @method(Sim, Tensor)
    def set_dof_position_target_tensor(self, sim, tensor):
        need(sim.prepared and tensor.values.size == self.get_sim_dof_count(sim), 'a target a dof')
        values = iter(tensor.values.reshape(-1).tolist())
        for _, actor in sim.actors:
            for place, j in enumerate(actor.asset.dofs):
                actor.target[j] = next(values)
                need(actor.drives['driveMode'][place] == DOF_MODE_POS, 'a dof driven by position')
        return True

    @method(Sim)
    def simulate(self, sim):
        need(sim.prepared and sim.fetched and not sim.accessing, 'simulate after fetch_results')
        if _MODE == 'dies':
            sys.stderr.write('PxgCudaDeviceMemoryAllocator fail to allocate memory\n')
            sys.stderr.flush()
            os._exit(139)
        if _MODE in ('hangs', 'lingers'):
            time.sleep(60 if _MODE == 'hangs' else 0.5)
        for _, actor in sim.actors:
            need(np.isfinite(np.concatenate([actor.root, actor.q, actor.qd, actor.target])).all(), 'numbers')
        gravity = np.array([sim.params.gravity.x, sim.params.gravity.y, sim.params.gravity.z])
        for env in sim.envs:
            for actor in env.actors:
                actor.step(sim.params.dt, gravity, env.actors, list(sim.ground))
        sim.shown = [(actor.root.copy(), actor.q.copy()) for _, actor in sim.actors]
        sim.fetched = sim.drawn = sim.rendered = False
        sim.set.clear()

    @method(Sim, bool)
    def fetch_results(self, sim, wait):
        need(wait, 'wait for the results')
        sim.fetched = True

    # Cameras: isaacgym-utils (axes), legged_gym forks (attached cameras, image tensors).
    @method(Env, CameraProperties)
    def create_camera_sensor(self, env, properties):
        if env.sim.graphics < 0:
            return -1
        need(0 < properties.horizontal_fov < 180, 'degrees')
        env.cameras.append([properties, None, None])
        return len(env.cameras) - 1

    @method(int, Env, Transform)
    def set_camera_transform(self, handle, env, pose):
        env.cameras[handle][1:] = None, pose

    @method(int, Env, int, Transform, int)
    def attach_camera_to_body(self, handle, env, body, pose, mode):
        need(mode == FOLLOW_TRANSFORM, 'the camera turns with the body')
        env.cameras[handle][1:] = body, pose

    @method(Sim, Env, int)
    def get_camera_proj_matrix(self, sim, env, handle):
        from .drawing import projection

        return projection(env.cameras[handle][0])

    @method(Sim)
    def step_graphics(self, sim):
        need(sim.fetched and sim.graphics >= 0, 'step_graphics after fetch_results, with graphics')
        sim.drawn = True

    @method(Sim)
    def render_all_camera_sensors(self, sim):
        need(sim.drawn, 'step_graphics comes before render_all_camera_sensors')
        sim.rendered = True

    @method(Sim)
    def start_access_image_tensors(self, sim):
        need(sim.rendered and not sim.accessing, 'render_all_camera_sensors comes first')
        sim.accessing = True

    @method(Sim)
    def end_access_image_tensors(self, sim):
        need(sim.accessing, 'start_access_image_tensors comes first')
        sim.accessing = False

    @method(Sim, Env, int, str)
    def get_camera_image_gpu_tensor(self, sim, env, handle, kind):
        from .drawing import draw

        need(sim.gpu and env.cameras[handle][0].enable_tensors, 'enable_tensors on a GPU')

        def readable():
            need(sim.accessing, 'image tensors are read between start_access and end_access')

        return Tensor(draw(sim, env, handle), readable)

    @method(Sim, Env, int, str)
    def get_camera_image(self, sim, env, handle, kind):
        from .drawing import draw

        need(sim.rendered, 'render_all_camera_sensors comes first')
        image = draw(sim, env, handle)
        return image.reshape(len(image), -1)
