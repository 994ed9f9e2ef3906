"""The on-disk contract: HDF5 shards and the Parquet index, written and read here only."""
