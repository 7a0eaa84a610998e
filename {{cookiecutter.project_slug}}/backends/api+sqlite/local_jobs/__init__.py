"""Operations on this machine: a SQLite file that holds them, and a process for each job."""
