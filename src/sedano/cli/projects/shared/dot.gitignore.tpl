.sedano/
.venv/
__pycache__/
