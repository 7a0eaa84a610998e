
.PHONY: worker schema
worker: $(UV) ## run a worker against the configured database
	$(UV) run python -m progress.backend.runner

schema: $(UV) ## apply the schema to the configured database
	$(UV) run python -m progress.backend.schema
