"""Call transcripts to try the app with, and the functions of the sample job. Yours to delete."""

from progress.job import Jobs

MORE_JOBS: Jobs = {}
"""Sample jobs of the backend, in addition to the sample job in jobs.py."""
