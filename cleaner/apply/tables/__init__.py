"""Label tables: datasets whose labels stand in the rows of a CSV, TSV or Parquet file, instead of in folder names."""
