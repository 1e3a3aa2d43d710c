"""A model and its data become a scan: one pass that keeps only the highest losses and the counts."""
