from sedano import shared_task
from sedano.log import get_task_logger

logger = get_task_logger(__name__)


@shared_task
def add(x: int, y: int) -> int:
    logger.info("adding %s and %s", x, y)
    return x + y
