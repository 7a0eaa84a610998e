
.PHONY: service test-prefect
service: $(UV) ## run the reference service alone (PROGRESS_API_TOKEN=secret SERVICE_PORT=8600)
	$(UV) run python -m dev.service

test-prefect: $(UV) ## run the tests against a real Prefect server, which is fetched for it
	$(UV) run --with "prefect>=3.4,<4" pytest tests/test_prefect.py
