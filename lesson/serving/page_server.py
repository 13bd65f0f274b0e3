"""Serve the page: the model loaded and warm, gradio on HOST and PORT, nothing reported to anybody."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from lesson.core.layout import cache_folder
from lesson.core.messages import tr
from lesson.core.settings import Values
from lesson.evaluation import loading
from lesson.runs.chosen import find_run_to_talk_about
from lesson.serving.addresses import format_address, is_loopback, keep_proxy_off_loopback, require_free_port
from lesson.serving.models import Models
from lesson.serving.page import CSS, build_page, make_theme
from lesson.serving.request_limits import PAGE_PATHS, make_middleware

PORT = 7860


@dataclass(frozen=True)
class PageServer:
    """A page that answers visitors, in threads of its own, until `close` is called."""

    host: str
    port: int
    close: Callable[[], None]


def start_page(values: Values, report: Callable[[str], None]) -> PageServer:
    """Load the models and start the page; `report` is told what takes time. USE is adapter unless it was given.

    Raises UserError when there is no run or model, or when the port is taken.
    """
    use_environment(values)
    use = values.use if values.given("USE") else "adapter"
    run = find_run_to_talk_about(values, use)
    host, port = values.host, values.port or PORT
    require_free_port(host, port)
    report(tr(f"loading {use} …", f"正在加载 {use} …"))
    models = Models(values, use, run)
    models.warm()
    page = build_page(models, values, run)
    page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,  # would need Node.js
        pwa=False,
        footer_links=[],
        max_file_size=1,  # byte: the page takes no files
        theme=make_theme(),
        css=CSS,
        root_path=values.root_path or None,
        app_kwargs={
            "middleware": make_middleware(host, values.allow_host, PAGE_PATHS),
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
        },
    )
    return PageServer(host, port, lambda: page.close(verbose=False))


def make_lines(server: PageServer) -> list[str]:
    """Where the page is, and who can see it."""
    lines = []
    if not is_loopback(server.host):
        lines.append(tr("anybody who reaches this machine can use the page", "能访问本机的任何人都可以使用此页面"))
    address = format_address(server.host, server.port)
    return [*lines, tr(f"open {address}  (Ctrl-C ends)", f"请打开 {address}（Ctrl-C 结束）")]


def use_environment(values: Values) -> None:
    """As for any model, and gradio's own: no reports, its files under BUILD. Call before importing gradio."""
    loading.use_environment(values)
    keep_proxy_off_loopback()
    files = cache_folder(values.build.resolve()) / "gradio"
    files.mkdir(parents=True, exist_ok=True)
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(files), GRADIO_ALLOWED_PATHS="")
    os.environ.pop("GRADIO_SHARE", None)
    warnings.filterwarnings("ignore", message="'HTTP_422")  # gradio's own, on every click
