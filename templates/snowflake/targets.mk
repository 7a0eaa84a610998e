
.PHONY: verify-account
verify-account: uv ## run the conformance suite against the configured Snowflake account
	"$(UV)" run python -m dev.verify_account
