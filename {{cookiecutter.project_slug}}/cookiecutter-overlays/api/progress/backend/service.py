"""YOUR service. As it is, it is the reference service that `make dev` starts.

For a well-known service use a profile of profiles.py, for your own copy reference.py into this
file and change it. mapping.py documents every field; `make record` keeps its answers for the tests.
"""

from progress.backend import reference

SERVICE = reference.SERVICE
