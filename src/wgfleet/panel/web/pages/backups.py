"""Backups: copies of a config's interface on a node, to download, and making one."""

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api.auth import Reader, SecretReader, Writer
from wgfleet.panel.api.backups import NewBackup, create_backup, download_backup
from wgfleet.panel.api.models import After, Identifier, ReferenceFilter, cut
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.services import backups, configs
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import READ, Caller
from wgfleet.panel.services.fleet import assignments
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page

router = page_router()
SECTIONS = (Section(marked("Backups"), "/backups", 85, READ),)
PAGE = 50
MOST_CONFIGS = 1000


@router.get("/backups")
def list_backups(
    request: Request, panel: ThePanel, caller: Reader, config: ReferenceFilter = None, after: After = None
) -> Response:
    with panel.store.read() as tx:
        if config:
            limits.check(tx, caller.limit, "config", config)
        config_id = configs.resolve(tx, config) if config else None
        rows, following = cut(backups.page(tx, config_id, None, after, PAGE + 1, caller.limit), PAGE)
        context = {
            "backups": rows,
            "config": config,
            "first": with_query("/backups", {"config": config}) if after else None,
            "following": with_query("/backups", {"config": config, "after": following}) if following else None,
        }
        return page(request, "backups/list.html", context)


@router.get("/backups/new")
def new_backup_page(request: Request, panel: ThePanel, caller: Writer) -> Response:
    return _new(request, panel, caller, SubmittedForm())


@router.post("/backups/new")
def make_backup(request: Request, panel: ThePanel, caller: Writer, form: TheForm) -> Response:
    """Make a backup of what was chosen as `config/node`."""
    config, _, node = form.get("what").partition("/")
    body = SubmittedForm({"config": config, "node": node, "reason": form.get("reason")}).read(NewBackup)
    if body is None:
        form.wrong["what"] = CHOOSE
        return _new(request, panel, caller, form)
    try:
        create_backup(panel, caller, body)
    except REFUSALS as error:
        return _new(request, panel, caller, form.refused(error))
    return gone_on(request, "/backups")


@router.get("/backups/{backup_id}/download")
def download(panel: ThePanel, caller: SecretReader, backup_id: Identifier) -> Response:
    return download_backup(panel, caller, backup_id)


CHOOSE = marked("choose a config on a node, and give a shorter reason")


def _new(request: Request, panel: Panel, caller: Caller, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        served = [
            (config.name, each.node.name)
            for config in configs.page(tx, None, MOST_CONFIGS, caller.limit)
            for each in assignments.listing(tx, config.id)
        ]
        context = {"form": form, "served": served, "most": backups.MOST}
        return page(request, "backups/new.html", context, status=form.status)
