from rest_framework.routers import SimpleRouter

from batches.api.batches import BatchView
from batches.api.tasks import TaskView

router = SimpleRouter(trailing_slash=False)
router.register("batches", BatchView, "batch")
router.register("tasks", TaskView, "task")
urlpatterns = router.urls
