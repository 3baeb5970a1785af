from service.core.celery import app


@app.task
def count_words(text: str) -> int:
    return len(text.split())


@app.task
def longest_word(text: str) -> str:
    words = text.split()
    if not words:
        raise ValueError("a text without words has no longest one")
    return max(words, key=len)
