"""The gateway's own face: the JSON API at /api/gateway, for dashboards and scripts."""
