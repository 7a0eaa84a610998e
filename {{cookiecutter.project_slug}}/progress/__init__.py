"""Start operations elsewhere, track them live, and stop polling when they end."""
