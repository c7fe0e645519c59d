from rest_framework.routers import SimpleRouter

from speechportal.accounts.api import InvitationView, MemberView, TokenView

router = SimpleRouter(trailing_slash=False)
router.register("members", MemberView, "member")
router.register("invitations", InvitationView, "invitation")
router.register("tokens", TokenView, "token")
urlpatterns = router.urls
