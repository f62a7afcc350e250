"""What was run: the index over all run directories, and the verbs that look at runs, name them and clear them away."""
