from django.apps import AppConfig


class HelpConfig(AppConfig):
    name = "speechportal.help"
    label = "help"
