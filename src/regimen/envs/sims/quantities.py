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
}
"""Name -> of what it is, and unit and meaning."""

OPERATIONS = ("scale", "add", "absolute")
DISTRIBUTIONS = ("uniform", "log_uniform", "gaussian")
