from rest_framework.routers import SimpleRouter

from speechportal.storage.api import ConnectionView

router = SimpleRouter(trailing_slash=False)
router.register("connections", ConnectionView, "connection")
urlpatterns = router.urls
