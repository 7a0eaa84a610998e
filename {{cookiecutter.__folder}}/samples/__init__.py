"""Call transcripts to try the app with, and what the sample job knows of them. Yours to delete."""
