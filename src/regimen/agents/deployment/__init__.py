"""Export of a policy for a robot, and its run in closed loop outside of this project."""
