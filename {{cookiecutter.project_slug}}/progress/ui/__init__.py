"""What a page draws. It reads the backend through `progress.session` only."""
