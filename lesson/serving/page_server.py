"""Serve the page: the model loaded and warm, gradio on HOST and PORT, nothing reported to anybody."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from lesson.core.layout import cache_folder
from lesson.core.messages import LANGUAGES, UserError, is_language_chosen, language, tr
from lesson.core.settings import Values
from lesson.evaluation import loading
from lesson.runs.chosen import find_run_to_talk_about
from lesson.runs.watching import find_unfinished_run
from lesson.serving.addresses import format_address, is_loopback, keep_proxy_off_loopback, require_free_port
from lesson.serving.models import Models
from lesson.serving.page import CSS, build_page, make_theme
from lesson.serving.page_training import TrainingWatch
from lesson.serving.request_limits import PAGE_PATHS, make_middleware
from lesson.serving.visitor_language import ByVisitorLanguage

PORT = 7860


@dataclass(frozen=True)
class PageServer:
    """A page that answers visitors, in threads of its own, until `close` is called."""

    host: str
    port: int
    close: Callable[[], None]


def start_page(values: Values, report: Callable[[str], None]) -> PageServer:
    """Load the models and start the page; `report` is told what takes time. USE is adapter unless it was given.

    Where no training is finished yet and USE was not given, the page shows the one that runs or stopped, without a model.
    Raises UserError when there is no run or model, or when the port is taken.
    """
    use_environment(values)
    use = values.use if values.given("USE") else "adapter"
    unfinished = None if values.given("USE") else find_unfinished_run(values)
    run = None if unfinished else find_run_to_talk_about(values, use)
    host, port = values.host, values.port or PORT
    require_free_port(host, port)
    models = None
    if unfinished is None:
        report(tr(f"loading {use} …", f"正在加载 {use} …"))
        models = Models(values, use, run)
        models.warm()
    else:
        name = unfinished.folder.name
        report(
            tr(
                f"no finished run to talk to: the page shows the training of run {name}",
                f"还没有完成的训练可以对话：页面显示训练 {name} 的进度",
            )
        )
    watch = TrainingWatch(values)
    languages = [language()] if is_language_chosen() else LANGUAGES
    pages = {name: build_page(models, values, run, watch, name) for name in languages}
    apps = {name: make_app(page, values, host, port) for name, page in pages.items()}
    server = serve(ByVisitorLanguage(apps), host, port)

    def close() -> None:
        for page in pages.values():
            page.close(verbose=False)
        server.should_exit = True

    return PageServer(host, port, close)


def make_app(page, values: Values, host: str, port: int):
    """The ASGI application of one page: all that gradio would open by itself and the page does not need is closed."""
    import gradio as gr
    from starlette.applications import Starlette

    return gr.mount_gradio_app(
        Starlette(),
        page,
        path="/",
        server_name=host,
        server_port=port,
        ssr_mode=False,  # would need Node.js
        pwa=False,
        show_error=False,
        enable_monitoring=False,
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


def serve(app, host: str, port: int):
    """Serve `app` in a thread of its own; gives uvicorn's server once it listens. Raises UserError when it cannot."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            require_free_port(host, port)
            raise UserError(
                f"HOST={host} PORT={port}",
                tr("the page's server ended at once", "网页服务启动后立即退出"),
                tr("read the lines above", "请查看上面的输出"),
            )
        time.sleep(0.01)
    return server


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
    # Gradio asks matplotlib for its backend at each event, and matplotlib would choose one at the first: half a second in
    # which a visitor waits.
    os.environ.setdefault("MPLBACKEND", "agg")
    warnings.filterwarnings("ignore", message="'HTTP_422")  # gradio's own, on every click
