"""The face for players and mounts: WebDAV."""
