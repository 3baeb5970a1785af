from counters import app


@app.task
def total(numbers: list[int]) -> int:
    print(f"adding {len(numbers)} numbers")
    return sum(numbers)


@app.task
def report() -> str:
    print("nothing to report")
    return "nothing to report"
