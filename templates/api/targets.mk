
.PHONY: service
service: uv ## run the reference service alone (PROGRESS_API_TOKEN=secret SERVICE_PORT=8600)
	exec "$(UV)" run python -m dev.service
