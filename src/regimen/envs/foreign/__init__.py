"""What tasks of another library share, whose environments are built by managers: catalogue, settings, names, state."""
