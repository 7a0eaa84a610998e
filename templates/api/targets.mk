
.PHONY: service record
service: uv ## run the reference service alone (PROGRESS_API_TOKEN=secret SERVICE_PORT=8600)
	exec "$(UV)" run python -m dev.service

record: uv ## keep what your service answers about an operation, for the tests (ID=...)
	@"$(UV)" run --quiet python -m dev.record "$(ID)"
