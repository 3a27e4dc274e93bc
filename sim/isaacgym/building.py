# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The scene in Isaac Gym, before it runs: the simulation, assets, environments, actors and their properties.

Runs in the worker, under Python 3.6 to 3.8. Order and signatures of
the calls follow their public use in IsaacGymEnvs (isaacgymenvs/tasks/base/vec_task.py, franka_cube_stack.py,
anymal_terrain.py, utils/dr_utils.py; BSD-3); never run on the real library by us.
"""

import math

from .library import GymError, done, made

_NOTHING = 0x7FFFFFFF  # collision filter that shares a bit with every other


class Environments:
    """``count`` environments with the same actors, see protocol.ACTOR; ready for the tensor API."""

    def __init__(self, library, description):
        self.count = description['count']
        self.actors = description['actors']
        self.gpu = description['device'] != 'cpu'
        self.gymapi = library.gymapi
        self.gym = self.gymapi.acquire_gym()
        self.sim = self._create_sim(description)
        for ground in description['ground']:
            plane = self.gymapi.PlaneParams()
            plane.normal = self.gymapi.Vec3(*ground['normal'])
            plane.distance = ground['distance']
            plane.static_friction = plane.dynamic_friction = ground['friction']
            self.gym.add_ground(self.sim, plane)
        self.bodies = [(a, b) for a, actor in enumerate(self.actors) for b in range(len(actor['bodies']))]
        self.dofs = [(a, d) for a, actor in enumerate(self.actors) for d in range(len(actor['dofs']))]
        self._assets = [self._load(description['folder'], actor) for actor in self.actors]
        self.envs, self._handles = [], []
        spacing = description['spacing']
        low, high = self.gymapi.Vec3(-spacing, -spacing, 0.0), self.gymapi.Vec3(spacing, spacing, spacing)
        per_row = max(1, int(math.sqrt(self.count)))
        for i in range(self.count):
            env = made(self.gym.create_env(self.sim, low, high, per_row), 'create_env')
            self.envs.append(env)
            self._handles.append([self._add(env, i, a, actor) for a, actor in enumerate(self.actors)])
        done(self.gym.prepare_sim(self.sim), 'prepare_sim')

    def _create_sim(self, description):
        kind, _, number = description['device'].partition(':')
        if kind not in ('cpu', 'cuda'):
            raise GymError('device {!r}: use cpu or cuda:<number>'.format(description['device']))
        device = int(number or 0)
        params = self.gymapi.SimParams()
        params.up_axis = self.gymapi.UP_AXIS_Z
        params.gravity = self.gymapi.Vec3(*description['gravity'])
        params.dt = description['timestep']
        params.substeps = 1  # ours are the scene's time steps, one gym.simulate each
        params.use_gpu_pipeline = self.gpu
        params.physx.use_gpu = self.gpu
        params.physx.num_threads = description['threads']
        params.physx.solver_type = 1  # TGS
        params.physx.num_position_iterations = 8
        params.physx.num_velocity_iterations = 1
        params.physx.contact_offset = 0.002
        params.physx.rest_offset = 0.0
        graphics = device if description['graphics'] else -1
        return made(self.gym.create_sim(device, graphics, self.gymapi.SIM_PHYSX, params), 'create_sim')

    def _load(self, folder, actor):
        options = self.gymapi.AssetOptions()
        options.fix_base_link = actor['fixed']
        options.disable_gravity = not actor['gravity']
        options.collapse_fixed_joints = False
        options.flip_visual_attachments = False
        options.replace_cylinder_with_capsule = False
        options.linear_damping = options.angular_damping = 0.0
        options.thickness = 0.001
        options.default_dof_drive_mode = self.gymapi.DOF_MODE_POS
        asset = made(self.gym.load_asset(self.sim, folder, actor['file'], options), 'load_asset')
        bodies = list(self.gym.get_asset_rigid_body_names(asset))
        dofs = list(self.gym.get_asset_dof_names(asset))
        for what, found, described in (('bodies', bodies, 'bodies'), ('dofs', dofs, 'dofs')):
            wanted = [item['name'] for item in actor[described]]
            if sorted(found) != sorted(wanted):
                raise GymError('{}: the importer made {} {} of {}'.format(actor['file'], what, found, wanted))
        return asset, bodies, dofs

    def _add(self, env, i, number, actor):
        asset, bodies, dofs = self._assets[number]
        pose = self.gymapi.Transform()
        pose.p = self.gymapi.Vec3(*actor['position'])
        pose.r = self.gymapi.Quat(*actor['rotation'])
        # the group is the environment's: things collide within one; filters are set shape by shape
        handle = self.gym.create_actor(env, asset, pose, actor['name'], i, 0, 0)
        if actor['dofs']:
            self._set_drives(env, asset, handle, dofs, actor)
        inertials = self.gym.get_actor_rigid_body_properties(env, handle)
        shapes = self.gym.get_actor_rigid_shape_properties(env, handle)
        ranges = self.gym.get_actor_rigid_body_shape_indices(env, handle)
        for body in actor['bodies']:
            b = bodies.index(body['name'])
            set_inertial(self.gymapi, inertials[b], body)
            if not body['gravity']:
                inertials[b].flags |= self.gymapi.RIGID_BODY_DISABLE_GRAVITY
            for k, shape in self._match(body, ranges[b]):
                shapes[k].filter = shape['filter'] if shape else _NOTHING
                shapes[k].restitution = 0.0
                if shape:
                    shapes[k].friction = shape['friction']
            if body['shapes']:
                colour = self.gymapi.Vec3(*body['colour'])
                self.gym.set_rigid_body_color(env, handle, b, self.gymapi.MESH_VISUAL, colour)
        self._set_inertials(env, handle, inertials)
        done(self.gym.set_actor_rigid_shape_properties(env, handle, shapes), 'set shape properties')
        return handle

    def _set_drives(self, env, asset, handle, dofs, actor):
        properties = self.gym.get_asset_dof_properties(asset)
        for dof in actor['dofs']:
            d = dofs.index(dof['name'])
            properties['driveMode'][d] = self.gymapi.DOF_MODE_POS
            properties['hasLimits'][d] = dof['limited']
            if dof['limited']:
                properties['lower'][d], properties['upper'][d] = dof['lower'], dof['upper']
            for name in ('stiffness', 'damping', 'effort', 'armature', 'friction'):
                properties[name][d] = dof[name]
        done(self.gym.set_actor_dof_properties(env, handle, properties), 'set_actor_dof_properties')

    def _match(self, body, span):
        """Pairs (shape index, description or None) of one body; the importer may leave out visual shapes."""
        colliding = [shape for shape in body['shapes'] if shape['collides']]
        for described in (body['shapes'], colliding):
            if described and span.count == len(described):
                return [(span.start + k, shape) for k, shape in enumerate(described)]
        if colliding:
            text = '{}: {} shapes described, {} imported'
            raise GymError(text.format(body['name'], len(body['shapes']), span.count))
        return [(k, None) for k in range(span.start, span.start + span.count)]

    def actor_index(self, sim, actor):
        """Row of an actor in the root state tensor."""
        return self.gym.get_actor_index(self.envs[sim], self._handles[sim][actor], self.gymapi.DOMAIN_SIM)

    def dof_index(self, sim, dof):
        """Row of a dof, by its place in ``dofs``, in the dof state tensor."""
        a, d = self.dofs[dof]
        place = self._assets[a][2].index(self.actors[a]['dofs'][d]['name'])
        return self.gym.get_actor_dof_index(
            self.envs[sim], self._handles[sim][a], place, self.gymapi.DOMAIN_SIM
        )

    def body_index(self, sim, body):
        """Row of a body, by its place in ``bodies``, in the rigid body state tensor."""
        env, handle, place, _ = self._place(sim, body)
        return self.gym.get_actor_rigid_body_index(env, handle, place, self.gymapi.DOMAIN_SIM)

    def body_handle(self, sim, body):
        """A body's number in its environment, what cameras are attached to."""
        env, handle, place, _ = self._place(sim, body)
        return self.gym.get_actor_rigid_body_handle(env, handle, place)

    def origin(self, sim):
        """Where an environment lies in the world [3]."""
        origin = self.gym.get_env_origin(self.envs[sim])
        return [origin.x, origin.y, origin.z]

    def _place(self, sim, body):
        """(environment, actor handle, index in the actor, description) of one body."""
        a, b = self.bodies[body]
        described = self.actors[a]['bodies'][b]
        place = self._assets[a][1].index(described['name'])
        return self.envs[sim], self._handles[sim][a], place, described

    def set_colour(self, sim, body, colour):
        env, handle, place, _ = self._place(sim, body)
        self.gym.set_rigid_body_color(env, handle, place, self.gymapi.MESH_VISUAL, self.gymapi.Vec3(*colour))

    def set_friction(self, sim, body, shape, friction):
        """Friction of one shape, by its place in the body's description."""
        env, handle, place, described = self._place(sim, body)
        properties = self.gym.get_actor_rigid_shape_properties(env, handle)
        span = self.gym.get_actor_rigid_body_shape_indices(env, handle)[place]
        for k, found in self._match(described, span):
            if found is described['shapes'][shape]:
                properties[k].friction = friction
        done(self.gym.set_actor_rigid_shape_properties(env, handle, properties), 'set shape properties')

    def set_drive(self, sim, dof, stiffness, damping):
        """Gains of one dof, by its place in ``dofs``."""
        a, d = self.dofs[dof]
        env, handle = self.envs[sim], self._handles[sim][a]
        place = self._assets[a][2].index(self.actors[a]['dofs'][d]['name'])
        properties = self.gym.get_actor_dof_properties(env, handle)
        properties['stiffness'][place], properties['damping'][place] = stiffness, damping
        done(self.gym.set_actor_dof_properties(env, handle, properties), 'set_actor_dof_properties')

    def set_mass(self, sim, body, inertial):
        """Mass, centre and inertia of one body; the library allows it while running on a CPU only."""
        env, handle, place, _ = self._place(sim, body)
        properties = self.gym.get_actor_rigid_body_properties(env, handle)
        set_inertial(self.gymapi, properties[place], inertial)
        self._set_inertials(env, handle, properties)

    def _set_inertials(self, env, handle, properties):
        result = self.gym.set_actor_rigid_body_properties(env, handle, properties, recomputeInertia=False)
        done(result, 'set_actor_rigid_body_properties')


def set_inertial(gymapi, properties, described):
    """Write mass, com and inertia of protocol.BODY into the library's properties of one body."""
    rows = described['inertia']
    properties.mass = described['mass']
    properties.com = gymapi.Vec3(*described['com'])
    inertia = gymapi.Mat33()
    inertia.x, inertia.y, inertia.z = (gymapi.Vec3(*rows[k : k + 3]) for k in (0, 3, 6))
    properties.inertia = inertia
