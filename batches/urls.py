from django.urls import path

from batches.views import batches, tasks, transcripts

app_name = "batches"
urlpatterns = [
    path("", batches.batch_list, name="list"),
    path("new/", batches.batch_create, name="create"),
    path("service/", batches.service_details, name="service"),
    path("delete/", batches.batch_delete, name="delete"),
    path("<str:uid>/", batches.batch_detail, name="detail"),
    path("<str:uid>/settings/", batches.batch_edit, name="settings"),
    path("<str:uid>/execution-results/", batches.batch_results, name="results"),
    path("<str:uid>/execution-results/<str:result_uid>/", batches.result_download, name="result_download"),
    path("<str:uid>/tasks/<str:task_uid>/", tasks.task_detail, name="task"),
    path("<str:uid>/tasks/<str:task_uid>/media/", transcripts.task_media, name="task_media"),
    path("<str:uid>/tasks/<str:task_uid>/retry/", tasks.task_retry, name="task_retry"),
    path("<str:uid>/tasks/<str:task_uid>/cancel/", tasks.task_cancel, name="task_cancel"),
    path("<str:uid>/tasks/<str:task_uid>/again/", tasks.task_repeat, name="task_repeat"),
    path("<str:uid>/tasks/<str:task_uid>/lines/<int:index>/", transcripts.correct_line, name="task_line"),
    path("<str:uid>/tasks/<str:task_uid>/speakers/", transcripts.name_speakers, name="task_speakers"),
    path("<str:uid>/tasks/<str:task_uid>/publish/", transcripts.publish, name="task_publish"),
    path("<str:uid>/tasks/<str:task_uid>/results/<str:name>/", transcripts.task_download, name="task_download"),
]
