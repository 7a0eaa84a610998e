"""Start operations elsewhere, follow them live, and stop polling when they end."""
