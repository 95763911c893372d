"""NZB Gateway: shows what is inside NZB files as ordinary files over WebDAV."""
