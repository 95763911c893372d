"""The bytes of a virtual file: layout, read-ahead, cache, FileStream."""
