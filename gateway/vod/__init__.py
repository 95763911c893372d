"""Films and series of Xtream accounts, and of the own library, at /movie and /series."""
