"""FWI PEFT Bench: the harness. ARCHITECTURE.md has the map of its rooms."""
