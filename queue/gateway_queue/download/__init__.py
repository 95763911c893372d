"""Downloads: whole posts fetched to the disk, resumable at any moment."""
