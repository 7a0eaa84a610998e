"""Sample transcripts and sample jobs. Delete this folder when you have jobs of your own."""

from progress.job import Jobs
from samples.cortex import score_sentiment

MORE_JOBS: Jobs = {"score_sentiment": score_sentiment}
"""Sample jobs of this backend: Cortex, on rows of a table."""
