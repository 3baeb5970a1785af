[project]
name = "{{name}}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["sedano", "flask"]

[dependency-groups]
test = ["pytest"]
