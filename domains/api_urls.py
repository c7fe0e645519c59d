from rest_framework.routers import SimpleRouter

from domains.api import DomainView

router = SimpleRouter(trailing_slash=False)
router.register("domains", DomainView, "domain")
urlpatterns = router.urls
