"""A human at the controls: keyboard in a window or gamepad, for demonstrations and interventions."""
