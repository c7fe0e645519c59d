from django.urls import include, path

from batches.web import actions, batches, tasks, transcripts

app_name = "batches"
urlpatterns = [
    path("", batches.batch_list, name="list"),
    path("new/", batches.batch_create, name="create"),
    path("service/", batches.service_details, name="service"),
    path("check/", actions.check, name="check"),
    path("try-webhook/", actions.try_webhook, name="try_webhook"),
    path("delete/", actions.delete, name="delete"),
    path("pause/", actions.pause, name="pause"),
    path("resume/", actions.resume, name="resume"),
    path("<str:uid>/", batches.batch_detail, name="detail"),
    path("<str:uid>/settings/", batches.batch_edit, name="settings"),
    path("<str:uid>/retry-failed/", actions.retry_failed, name="retry_failed"),
    path("<str:uid>/cancel-waiting/", actions.cancel_waiting, name="cancel_waiting"),
    path("<str:uid>/execution-results/", batches.batch_results, name="results"),
    path("<str:uid>/execution-results/<str:result_uid>/", batches.result_detail, name="result"),
    path(
        "<str:uid>/execution-results/<str:result_uid>/csv/", batches.result_download, name="result_download"
    ),
    path("<str:uid>/activity/", batches.batch_activity, name="activity"),
    path("<str:uid>/deliveries/", include("batches.web.delivery_urls")),
    path("<str:uid>/tasks/<str:task_uid>/", tasks.task_detail, name="task"),
    path("<str:uid>/tasks/<str:task_uid>/media/", transcripts.task_media, name="task_media"),
    path("<str:uid>/tasks/<str:task_uid>/retry/", tasks.task_retry, name="task_retry"),
    path("<str:uid>/tasks/<str:task_uid>/cancel/", tasks.task_cancel, name="task_cancel"),
    path("<str:uid>/tasks/<str:task_uid>/again/", tasks.task_repeat, name="task_repeat"),
    path("<str:uid>/tasks/<str:task_uid>/lines/<int:index>/", transcripts.correct_line, name="task_line"),
    path("<str:uid>/tasks/<str:task_uid>/speakers/", transcripts.name_speakers, name="task_speakers"),
    path("<str:uid>/tasks/<str:task_uid>/publish/", transcripts.publish, name="task_publish"),
    path(
        "<str:uid>/tasks/<str:task_uid>/results/<str:name>/", transcripts.task_download, name="task_download"
    ),
]
