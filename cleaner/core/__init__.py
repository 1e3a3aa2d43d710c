"""Plain data and rules: records, accumulators and the two kinds of file that the stages meet in."""
