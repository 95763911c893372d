"""What becomes of a post's files once they lie in a folder: repaired, unpacked, put in place.

Functions on folders, that know nothing of the queue. They want no more than a folder of their
own, on the file system that their result goes to.
"""
