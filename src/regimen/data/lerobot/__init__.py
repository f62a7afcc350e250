"""Export in the LeRobot v3 layout."""
