"""Write the pages about the rules of the fragment linter, from the rules themselves.

python docs/rules.py
"""

import sys
from pathlib import Path
from textwrap import fill

sys.path.insert(0, str(Path(__file__).parent.parent / "{{cookiecutter.project_slug}}"))

from dev.fragment_lint.rules import RULES, Rule

FOLDER = Path(__file__).parent / "rules"
START = """# The rules of the fragment linter

Made by `docs/rules.py` from the rules; `fragment-lint --explain FC06` prints the same.

| rule | what it finds | severity |
|---|---|---|
"""


def page(code: str, rule: Rule) -> str:
    """Return the page about a rule."""
    return f"""# {code} {rule.name}

Finds {rule.finds}. Severity: {rule.severity}.

## Bad

```python
{rule.bad}```

## Good

```python
{rule.good}```

## Why

{fill(rule.why, 120)}

{fill(f"Fix: {rule.fix}.", 120)}

## Measured

{rule.measured}
"""


def pages() -> dict[str, str]:
    """Return the text of each page by the name of its file."""
    rows = [
        f"| [{code} {rule.name}]({code}.md) | {rule.finds} | {rule.severity} |\n"
        for code, rule in RULES.items()
    ]
    texts = {f"{code}.md": page(code, rule) for code, rule in RULES.items()}
    return {"README.md": START + "".join(rows), **texts}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
