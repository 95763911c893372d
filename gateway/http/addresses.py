"""How a host and a port stand in an address."""

from __future__ import annotations


def reachable(host: str) -> str:
    """Return where on this machine what listens on *host* is asked."""
    # What listens on every address listens on this machine's own.
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def place(host: str, port: int) -> str:
    """Return host and port as they stand in an address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
