"""URLs of the pages: home, batches and usage. Batches and usage have a namespace each."""

from django.urls import URLPattern, URLResolver, include, path

from batches.web import (
    actions,
    batches,
    deliveries,
    first_steps,
    home,
    lists,
    notifications,
    selected_tasks,
    tasks,
    text_rules,
    transcript_changes,
    transcripts,
    uploads,
    usage,
)

delivery_pages = [
    path("", deliveries.delivery_list, name="deliveries"),
    path("test/", deliveries.send_test, name="webhook_test"),
    path("resume/", deliveries.resume, name="webhook_resume"),
    path("secret/", deliveries.show_secret, name="webhook_secret"),
    path("rotate/", deliveries.rotate_secret, name="webhook_rotate"),
    path("redeliver/", deliveries.redeliver_since, name="redeliver_since"),
    path("<str:delivery_uid>/", deliveries.delivery_detail, name="delivery"),
    path("<str:delivery_uid>/redeliver/", deliveries.redeliver, name="redeliver"),
]
batch_pages: list[URLPattern | URLResolver] = [
    path("", batches.batch_list, name="list"),
    path("new/", batches.batch_create, name="create"),
    path("deleted/", batches.deleted_list, name="deleted"),
    path("service/", batches.service_details, name="service"),
    path("check/", actions.check, name="check"),
    path("try-webhook/", actions.try_webhook, name="try_webhook"),
    path("delete/", actions.delete, name="delete"),
    path("pause/", actions.pause, name="pause"),
    path("resume/", actions.resume, name="resume"),
    path("<str:uid>/", batches.batch_detail, name="detail"),
    path("<str:uid>/acknowledge/<slug:subject>/", actions.acknowledge, name="acknowledge"),
    path("<str:uid>/look-now/", actions.look_now, name="look_now"),
    path("<str:uid>/settings/", batches.batch_edit, name="settings"),
    path("<str:uid>/retry-failed/", actions.retry_failed, name="retry_failed"),
    path("<str:uid>/cancel-waiting/", actions.cancel_waiting, name="cancel_waiting"),
    path("<str:uid>/execution-results/", batches.batch_results, name="results"),
    path("<str:uid>/execution-results/<str:result_uid>/", batches.result_detail, name="result"),
    path(
        "<str:uid>/execution-results/<str:result_uid>/csv/", batches.result_download, name="result_download"
    ),
    path("<str:uid>/selected.zip", selected_tasks.download, name="selected_archive"),
    path("<str:uid>/selected.csv", selected_tasks.export, name="selected_export"),
    path("<str:uid>/selected/<slug:action>/", selected_tasks.act, name="selected_tasks"),
    path("<str:uid>/uploads/", uploads.receive, name="upload_receive"),
    path("<str:uid>/uploads/plan/", uploads.plan, name="upload_plan"),
    path("<str:uid>/uploads/sign/", uploads.sign, name="upload_sign"),
    path("<str:uid>/uploads/finish/", uploads.finish, name="upload_finish"),
    path("<str:uid>/results.zip", batches.batch_archive, name="archive"),
    path("<str:uid>/activity/", batches.batch_activity, name="activity"),
    path("<str:uid>/deliveries/", include(delivery_pages)),
    path("<str:uid>/tasks/<str:task_uid>/", tasks.task_detail, name="task"),
    path("<str:uid>/tasks/<str:task_uid>/media/", transcripts.task_media, name="task_media"),
    path("<str:uid>/tasks/<str:task_uid>/original/", transcripts.task_original, name="task_original"),
    path(
        "<str:uid>/tasks/<str:task_uid>/original/delete/",
        transcripts.task_original_delete,
        name="task_original_delete",
    ),
    path(
        "<str:uid>/tasks/<str:task_uid>/media/there/", transcripts.task_media_there, name="task_media_there"
    ),
    path("<str:uid>/tasks/<str:task_uid>/retry/", tasks.task_retry, name="task_retry"),
    path("<str:uid>/tasks/<str:task_uid>/cancel/", tasks.task_cancel, name="task_cancel"),
    path("<str:uid>/tasks/<str:task_uid>/acknowledge/", tasks.task_acknowledge, name="task_acknowledge"),
    path("<str:uid>/tasks/<str:task_uid>/again/", tasks.task_repeat, name="task_repeat"),
    path("<str:uid>/tasks/<str:task_uid>/lines/", transcript_changes.task_lines, name="task_lines"),
    path("<str:uid>/tasks/<str:task_uid>/changes/", transcript_changes.change, name="task_change"),
    path("<str:uid>/tasks/<str:task_uid>/lines/<int:index>/", transcripts.correct_line, name="task_line"),
    path("<str:uid>/tasks/<str:task_uid>/speakers/", transcripts.name_speakers, name="task_speakers"),
    path("<str:uid>/tasks/<str:task_uid>/publish/", transcripts.publish, name="task_publish"),
    path(
        "<str:uid>/tasks/<str:task_uid>/results/<str:name>/", transcripts.task_download, name="task_download"
    ),
]
text_rule_pages: list[URLPattern | URLResolver] = [
    path("", text_rules.text_rules, name="page"),
    path("reprocess/", text_rules.reprocess, name="reprocess"),
    path("delete-originals/", text_rules.delete_originals, name="delete_originals"),
    path("proposal/", text_rules.answer_proposal, name="proposal"),
    path("replacements.<str:ending>", text_rules.replacements_download, name="replacements"),
]
usage_pages: list[URLPattern | URLResolver] = [
    path("", usage.usage_page, name="list"),
    path("<str:month>.csv", usage.usage_export, name="export"),
]
urlpatterns = [
    path("", home.home, name="home"),
    path("first-steps/", first_steps.page, name="first_steps"),
    path("first-steps/sample/", first_steps.sample, name="first_steps_sample"),
    path("lists/<slug:name>/", lists.keep, name="keep_list"),
    path("transcripts/", home.transcripts, name="transcripts"),
    path("batches/", include((batch_pages, "batches"))),
    path("domains/<str:uid>/text/", include((text_rule_pages, "text_rules"))),
    path("account/notifications/", notifications.notifications_page, name="notifications"),
    path("account/notifications/channels/", notifications.channel_add, name="notification_channel_add"),
    path(
        "account/notifications/channels/<str:uid>/remove/",
        notifications.channel_remove,
        name="notification_channel_remove",
    ),
    path(
        "account/notifications/channels/<str:uid>/try/",
        notifications.channel_try,
        name="notification_channel_try",
    ),
    path("usage/", include((usage_pages, "usage"))),
]
