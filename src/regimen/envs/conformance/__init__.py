"""The conformance checker of the VecEnv contract."""
