"""HTML reports over several runs."""
