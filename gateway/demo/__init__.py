"""A small news server with sample posts, for the first five minutes, for tests and benches."""
