"""What pages call jobs and operations."""

from progress.job import title
from progress.session import choices
from progress.text import as_line


def job_title(name: str) -> str:
    """Return what a page calls a job: its title in jobs.py, or its name in words."""
    job = choices.find(name)
    return as_line(title(name, job), 200) or name


def operation_title(job: str, subject: str) -> str:
    """Return what a page calls an operation. It is data, not Markdown."""
    return as_line(f"{job_title(job)}: {subject}" if subject else job_title(job), 200)
