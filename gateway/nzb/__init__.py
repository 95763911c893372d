"""What a post means: bytes in, values out. No sockets, no threads."""
