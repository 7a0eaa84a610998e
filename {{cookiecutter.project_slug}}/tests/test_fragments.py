"""The timed fragments of this project keep the rules that dev/fragment_lint describes."""

from dev.fragment_lint import check_paths
from progress.settings import ROOT


def test_the_fragments_of_this_project_keep_the_rules() -> None:
    assert [str(finding) for finding in check_paths([ROOT])] == []
