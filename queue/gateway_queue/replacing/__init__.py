"""Has an *arr replace what cannot be read any more."""
