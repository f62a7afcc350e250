"""Read-only views of recorded runs: filters, groups, lineage, differences, removal."""
