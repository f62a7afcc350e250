"""Terms of the managers, under the names Isaac Lab's `mdp` module uses where the meaning is the same."""
