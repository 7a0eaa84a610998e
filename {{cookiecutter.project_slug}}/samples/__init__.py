"""Call transcripts to try the app with, and what the sample job knows of them. Yours to delete."""

from progress.reporter import Job

MORE_JOBS: dict[str, Job] = {}
"""Sample jobs of a backend's own, beside the one in jobs.py."""
