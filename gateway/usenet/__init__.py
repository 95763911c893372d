"""Talking to news providers: connections, permits, pools, articles. Knows no files and no HTTP."""
