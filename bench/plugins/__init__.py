"""What stands between the harness and a method: finding it, its options, adapting, checking."""
