"""Start operations elsewhere, follow them live, and stop asking when they end."""
