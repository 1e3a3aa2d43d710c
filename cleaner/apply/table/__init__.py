"""Label tables: the labels of a dataset are in the rows of a CSV, TSV or Parquet file."""
