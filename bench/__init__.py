"""What the gateway costs and how fast it is, measured against a bare client in the same run."""
