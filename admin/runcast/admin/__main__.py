"""`python -m runcast.admin`: one admin process."""

from runcast.admin.app import run_admin
from runcast.admin.settings import AdminSettings
from runcast.bus.process import main

main("admin", AdminSettings, run_admin)
