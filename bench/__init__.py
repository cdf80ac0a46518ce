"""FWI PEFT Bench: the harness. See README.md for the map of the repository."""
