
.PHONY: worker schema
worker: uv ## run a worker against the configured database
	exec "$(UV)" run python -m progress.backend.runner

schema: uv ## apply the schema to the configured database
	"$(UV)" run python -m progress.backend.schema
