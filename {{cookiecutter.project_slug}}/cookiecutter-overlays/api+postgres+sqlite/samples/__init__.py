"""Call transcripts to try the app with, and the functions of the sample job. Yours to delete."""

from progress.reporter import Job

MORE_JOBS: dict[str, Job] = {}
"""Sample jobs of the backend, in addition to the sample job in jobs.py."""
