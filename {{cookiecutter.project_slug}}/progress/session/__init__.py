"""What a session keeps: the only place that touches the session state and the URL."""
