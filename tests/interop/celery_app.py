"""The Celery application of the test: its workers and its client both load this."""

import os
import time

from celery import Celery, signals

app = Celery("warren", broker=os.environ["CELERY_BROKER"], backend="rpc://")
app.conf.update(
    task_default_queue=os.environ.get("CELERY_QUEUE", "celery"),
    task_serializer="json", result_serializer="json", accept_content=["json"],
    broker_connection_timeout=10, broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=int(os.environ.get("CELERY_PREFETCH", "16")),
    broker_transport_options={"confirm_publish": True},
    result_expires=600, worker_send_task_events=False)


@signals.worker_ready.connect
def on_ready(**_):
    print("worker is ready", flush=True)  # at "-l warning" nothing else tells


@app.task
def add(x, y):
    """The sum, and who worked it out."""
    return x + y, os.getpid()


@app.task(acks_late=True)
def touch_and_wait(folder, seconds):
    """Leaves a file with its process' id, then takes its time."""
    with open(os.path.join(folder, "started.%d" % os.getpid()), "w"):
        pass
    time.sleep(seconds)
    return os.getpid()
