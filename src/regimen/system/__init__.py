"""Files, processes, git, signals and errors; imports nothing of the other packages."""
