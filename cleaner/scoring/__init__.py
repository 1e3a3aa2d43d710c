"""A model and its data become a scan: one pass, of which only the highest losses and the counts are kept."""
