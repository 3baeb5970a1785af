"""The tasks. Run them with: sedano -A tasks worker -l info"""

from sedano import Sedano
from sedano.log import get_task_logger

# No broker is named: calls go to the embedded store in .sedano/. For Redis, as Celery has it:
# app = Sedano("{{name}}", broker="redis://localhost:6379/0", backend="redis://localhost:6379/0")
app = Sedano("{{name}}")
logger = get_task_logger(__name__)


@app.task
def add(x: int, y: int) -> int:
    logger.info("adding %s and %s", x, y)
    return x + y
