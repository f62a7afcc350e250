"""Motion clips: reading, interpolation, style features, and the library that a task samples from."""
