"""Call transcripts to try the app with, and what the sample jobs do. Yours to delete."""

from progress.reporter import Job
from samples.cortex import score_sentiment

MORE_JOBS: dict[str, Job] = {"score_sentiment": score_sentiment}
"""Sample jobs of this backend: Cortex, on rows of a table."""
