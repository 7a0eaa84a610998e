"""The backend that holds the operations and starts their jobs."""
