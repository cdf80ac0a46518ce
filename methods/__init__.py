"""The methods that ship with the benchmark: one file, one object, one entry-point line each."""
