"""Experiments between the processes of one host: local communication, video, copying a file."""
