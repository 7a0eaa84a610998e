
.PHONY: service test-prefect
service: $(UV) ## run the reference service alone (PROGRESS_API_TOKEN=secret SERVICE_PORT=8600)
	$(UV) run python -m dev.service

# Prefect 3.8 does not start with later FastAPIs.
test-prefect: $(UV) ## test against a real Prefect server, which is fetched for it
	$(UV) run --with "prefect>=3.4,<4" --with "fastapi<0.150" pytest tests/with_prefect.py
