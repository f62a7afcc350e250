"""Physical quantities that the event `randomize` draws, by name. Nothing here imports torch: preflight reads them."""

from __future__ import annotations

QUANTITIES = {
    "body_mass": ("bodies", "kg; the inertia is scaled alike"),
    "body_inertia": ("bodies", "factor of the three moments of inertia"),
    "com_x": ("bodies", "m, centre of mass in the frame of the body"),
    "com_y": ("bodies", "m"),
    "com_z": ("bodies", "m"),
    "link_x": ("bodies", "m, place of the body in that of its parent"),
    "link_y": ("bodies", "m"),
    "link_z": ("bodies", "m"),
    "stiffness": ("joints", "N·m/rad of the position servo"),
    "damping": ("joints", "N·m·s/rad of the servo"),
    "torque_limit": ("joints", "N·m"),
    "motor_strength": ("joints", "factor of stiffness, damping and torque limit"),
    "joint_friction": ("joints", "N·m, dry friction"),
    "joint_damping": ("joints", "N·m·s/rad, viscous"),
    "armature": ("joints", "kg·m², reflected inertia of the rotor"),
    "joint_spring": ("joints", "N·m/rad of a spring beside the servo"),
    "joint_low": ("joints", "rad, lower end of the range"),
    "joint_high": ("joints", "rad, upper end of the range"),
    "friction": ("shapes", "sliding friction"),
    "torsional_friction": ("shapes", "m"),
    "rolling_friction": ("shapes", "m"),
    "contact_time": ("shapes", "s, time constant of a contact: larger is softer"),
    "contact_damping": ("shapes", "damping ratio of a contact: below 1 it bounces"),
    "contact_depth": ("shapes", "m, penetration over which a contact becomes hard"),
    "contact_margin": ("shapes", "m, distance at which a contact begins"),
    "shape_size": ("shapes", "m, first size of the shape: the radius of a foot"),
    "terrain_friction": ("ground", "factor of the sliding friction of all contacts"),
    "gravity_x": ("world", "m/s²"),
    "gravity_y": ("world", "m/s²"),
    "gravity_z": ("world", "m/s², below 0 downwards"),
    "encoder_bias": ("joints", "rad, angle that is read minus the true one"),
    "joint_offset": ("joints", "rad, angle at which the servo rests minus the target"),
}
"""Name -> of what it is, and unit and meaning."""

OF_JOINT_ERRORS = ("encoder_bias", "joint_offset")
"""Those that the environment adds to angles and targets itself, on every simulator."""

NOMINALLY_ZERO = (*OF_JOINT_ERRORS, "gravity_x", "gravity_y")
"""Those that a factor leaves at 0."""

WRENCH = ("force_x", "force_y", "force_z", "torque_x", "torque_y", "torque_z")
"""Parts of a wrench, in N and N·m, world frame."""

OPERATIONS = ("scale", "add", "absolute")
DISTRIBUTIONS = ("uniform", "log_uniform", "gaussian")
