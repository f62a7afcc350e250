"""Recording of episodes and learning histories."""
