"""One module for each command of `bench`."""
