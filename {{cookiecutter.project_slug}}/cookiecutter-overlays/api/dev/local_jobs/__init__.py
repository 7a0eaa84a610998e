"""The jobs of the reference service: a SQLite file, and a process for each job."""
