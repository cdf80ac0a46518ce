"""What is compared: datasets, tracks, protocols, the rules of training and their fingerprint."""
