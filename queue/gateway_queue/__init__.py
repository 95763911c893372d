"""The face for indexers and *arr: the queue, its jobs, and SABnzbd's API."""
