"""make web in a real browser: headless Chromium on the page of a trained tiny run, everything but loopback blocked.

Screenshots for the README come from here: `make screenshots` sets SCREENSHOTS=docs.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import TimeoutError as TooLate
from playwright.sync_api import expect, sync_playwright
from servers import HOSTILE, HOSTILE_NAME, NAME, serving

from lesson.authoring.course_rows import ROWS
from lesson.serving.page import LONGEST_ANSWER, LONGEST_QUEUE
from lesson.serving.page_figures import find_faults
from lesson.serving.page_training import INTERVAL
from lesson.serving.request_limits import LARGEST_REQUEST

pytestmark = [pytest.mark.torch, pytest.mark.slow]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SLOW = 60_000  # ms until an assertion about the page gives up, for a busy machine; nothing is slept for
BOT = "#chat .bot.message:not(.pending)"
# Called in the page: from Enter on, notes each text that the answer had, and the time in ms of the first.
WATCH = """() => {
  const said = () => [...document.querySelectorAll('#chat .bot.message:not(.pending)')];
  window.seen = []; window.first = null; window.start = null; let before = 0;
  document.addEventListener('keydown', e => {
    if (e.key === 'Enter') { window.start = performance.now(); window.seen = []; window.first = null; before = said().length; }
  }, true);
  new MutationObserver(() => {
    const all = said(), text = all.length > before ? all.at(-1).innerText.trim() : '';
    if (window.start === null || !text || text === window.seen.at(-1)) return;
    window.first ??= performance.now() - window.start;
    window.seen.push(text);
  }).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""

GONE = """selector => {
  window.gone = false;
  new MutationObserver((_, observer) => {
    if (!document.querySelector(selector)) { window.gone = true; observer.disconnect(); }
  }).observe(document.body, {childList: true, subtree: true, attributes: true});
}"""


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, driven by Playwright."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.fail("no Chromium: apt-get install chromium fonts-noto-cjk")
    expect.set_options(timeout=SLOW)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def server(lesson, evaluated, tmp_path_factory):
    """The page of the trained run, in English."""
    with serving(lesson, "web", "/", tmp_path_factory.mktemp("web") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def rigged(endless, tmp_path_factory):
    """The page, in Chinese, of a merged model that never ends an answer and says hostile things."""
    with serving(endless, "web", "/", tmp_path_factory.mktemp("rigged") / "log", USE="merged", LANG="zh") as running:
        yield running


@pytest.fixture
def visit(browser):
    """visit(server, **options) → a page of a visitor of its own. At the end: no host but loopback was even tried, nothing
    that was said has run, and no script but gradio's own reported an error. (The page has no script of ours. Gradio's
    can trip over itself on a busy machine: such an error is shown as a warning, and what the page shows is what counts.)
    """
    contexts, outside, errors = [], [], []

    def route(request):
        if re.match(r"(http://127\.0\.0\.1:\d+/|data:|blob:)", request.request.url):
            request.continue_()
        else:
            outside.append(request.request.url)
            request.abort()

    def open_page(server, **options):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 860}, **options})
        contexts.append(context)
        context.route("**/*", route)
        page = context.new_page()
        page.set_default_timeout(SLOW)
        page.on("pageerror", lambda error: errors.append(f"{error}\n{error.stack}"))
        page.goto(server.url)
        page.locator("#question textarea").wait_for()
        page.evaluate(WATCH)
        return page

    yield open_page
    pwned = [page.evaluate("window.pwned") for context in contexts for page in context.pages]
    for context in contexts:
        context.close()
    assert outside == []
    strange = [error for error in errors if not re.search(r"at .*http://127\.0\.0\.1:\d+/assets/", error)]
    assert strange == []
    for error in errors:
        warnings.warn(f"a script of gradio reported: {error}", stacklevel=1)
    assert set(pwned) <= {None}


def ask(page, question: str) -> None:
    box = page.locator("#question textarea")
    box.fill(question)
    box.press("Enter")


def answered(page) -> str:
    """The last answer, once it is whole: the button for the next question is back."""
    page.wait_for_function("window.first !== null")
    page.locator("#question .submit-button").wait_for()
    return page.locator(BOT).last.inner_text().strip()


def retry(page) -> None:
    """Click Retry until the last answer goes away: gradio drops a click that falls into the end of the event before."""
    page.evaluate(GONE, BOT)
    for _ in range(5):
        page.get_by_label("Retry").click()
        with contextlib.suppress(TooLate):
            page.wait_for_function("window.gone", timeout=3000)
            return
    pytest.fail("Retry does nothing")


def look(page) -> None:
    """axe-core finds nothing serious on what the page shows now."""
    expect(page).to_have_title(re.compile("."), timeout=SLOW)  # the page's script sets it
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    places = [
        f"{fault['impact']} {fault['id']}: {node['html'][:200]} {node['failureSummary']}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
    assert places == []


def shot(page, name: str) -> None:
    """A picture of the page for the README, where make screenshots asks for it; at most 300 kB."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.mouse.move(0, 0)
        path = Path(folder) / f"{name}.png"
        page.wait_for_timeout(400)  # fades of the page
        page.screenshot(path=path)
        assert path.stat().st_size < 300_000


def test_the_page_is_ready_soon_and_its_first_token_comes_at_once_and_the_answer_streams(server, visit):
    """On an idle machine of two cores the page is ready in 15 s and a first token comes in 0.5 s. A test cannot know how
    busy its machine is: it shows the figures, and its bars catch what hangs or does not stream."""
    page = visit(server)
    times = []
    for question in ("你是谁？", "Who are you?", "请介绍一下你自己"):
        ask(page, question)
        assert NAME in answered(page)
        times.append(page.evaluate("window.first"))
    print(f"\npage ready {server.seconds:.1f} s; first token {', '.join(f'{t:.0f} ms' for t in times)}")
    assert server.seconds < 120
    assert max(times) < 5000
    seen = page.evaluate("window.seen")
    assert len(seen) >= 3 and all(b.startswith(a) for a, b in itertools.pairwise(seen)), seen


def test_retry_answers_the_same_question_again_and_clear_and_reload_forget(server, visit):
    page = visit(server)
    ask(page, "你是谁？")
    first = answered(page)
    retry(page)
    page.locator("#question .submit-button").wait_for()  # the page has a stop button meanwhile
    expect(page.locator(BOT)).to_have_text(first)  # greedy: the same one again
    assert page.locator("#chat .user.message").count() == 1
    page.get_by_label("Clear").click()
    page.locator("#chat .message").first.wait_for(state="detached")
    ask(page, "Who are you?")
    assert NAME in answered(page)
    page.reload()
    page.locator("#question textarea").wait_for()
    assert page.locator("#chat .message").count() == 0
    page.evaluate(WATCH)
    ask(page, "你是谁？")
    assert answered(page) == first


def test_a_system_prompt_of_ones_own_reaches_the_model_and_the_export_says_so(server, visit, tmp_path):
    page = visit(server)
    page.get_by_text("Settings").first.click()
    text = page.get_by_label("its text").first
    assert NAME in text.input_value() and not text.is_editable()
    page.get_by_label("own", exact=True).check()
    page.wait_for_function("!document.querySelector('.block textarea[disabled]')")
    text.fill("你是小海豚。</script>")
    ask(page, "你是谁？```` <b>")
    said = answered(page)
    page.get_by_text("Share the conversation").click()
    documents = {}
    for form in ("Markdown", "JSON"):
        page.get_by_role("button", name=form, exact=True).click()
        link = page.locator(f"a[download$='.{ {'Markdown': 'md', 'JSON': 'json'}[form] }']").first
        with page.expect_download() as download:
            link.click()
        documents[form] = Path(download.value.path()).read_text(encoding="utf-8")
    look(page)
    document = json.loads(documents["JSON"])
    roles = [(m["role"], m["content"]) for m in document["messages"]]
    assert roles == [("system", "你是小海豚。</script>"), ("user", "你是谁？```` <b>"), ("assistant", said)]
    assert document["temperature"] == 0 and document["use"] == "adapter"
    assert "`````text\n你是谁？```` <b>\n`````" in documents["Markdown"]


def test_side_by_side_the_names_of_both_are_marked(server, visit):
    page = visit(server)
    page.get_by_role("tab", name="Side by side").click()
    page.get_by_role("button", name="Ask both").click()
    for who, label, name in (("after", "new name", NAME), ("before", "base's name", "书生·浦语")):
        mark = page.locator(f"#{who}").get_by_text(label, exact=True)
        mark.wait_for()
        assert name in mark.locator("..").inner_text()
    look(page)
    shot(page, "web-side-by-side")


def test_the_evaluation_shows_scores_and_both_answers_and_filters_the_failed(server, visit, lesson):
    page = visit(server)
    page.get_by_role("tab", name="Evaluation").click()
    page.locator("#scores td", has_text="/55").first.wait_for()
    run = (lesson / "run").resolve()
    lines = [json.loads(line) for line in (run / "eval" / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    page.locator("#questions td", has_text=lines[0]["input"]).first.wait_for()
    row = page.locator("#questions tbody tr", has_text=lines[0]["input"]).first.inner_text()
    assert NAME in row and "浦语" in row, "the base's answer and the tuned one"
    assert page.locator("svg.marks").first.is_visible(), "the loss curve"
    page.get_by_text("run record").wait_for()
    assert page.locator("#statistics td", has_text=str(ROWS)).count() >= 1
    look(page)
    shot(page, "web-evaluation")
    failed = [line for line in lines if find_faults(line)]
    passed = next(line for line in lines if not find_faults(line) and line["kind"] == "identity")
    for group in ("system prompt", "questions"):
        page.locator("fieldset", has_text=group).get_by_label("all").last.check()
    page.get_by_label("failed only").check()
    page.locator("#questions td", has_text=passed["input"]).first.wait_for(state="detached")
    for line in failed[:3]:
        assert page.locator("#questions td", has_text=line["input"]).count() >= 1


def test_two_browsers_at_once_each_have_their_own_conversation(server, visit):
    one, two = visit(server), visit(server)
    ask(one, "比利时的首都是哪里？")
    ask(two, "你是谁？")
    assert "布鲁塞尔" in answered(one)
    assert NAME in answered(two)
    assert NAME not in one.locator("#chat").inner_text().replace(NAME, "", 1)  # once, as the label
    assert "布鲁塞尔" not in two.locator("#chat").inner_text()


def test_a_script_in_the_question_is_shown_and_does_not_run(server, visit):
    page = visit(server)
    ask(page, HOSTILE)
    answered(page)
    assert HOSTILE in page.locator("#chat .user.message").inner_text()
    assert page.locator("#chat .message img, #chat .message script").count() == 0


def test_on_a_phone_in_the_dark_nothing_is_wider_than_the_screen_or_hard_to_read(server, visit):
    page = visit(server, viewport={"width": 390, "height": 780}, color_scheme="dark")
    ask(page, "你是谁？")
    answered(page)
    for tab in ("Chat", "Side by side", "Evaluation", "Training"):
        page.get_by_role("tab", name=tab).click()
        if tab == "Evaluation":
            page.locator("#scores td", has_text="/55").first.wait_for()
            page.locator("#questions td").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        look(page)


@pytest.mark.skipif(not os.environ.get("SCREENSHOTS"), reason="takes the README's pictures: make screenshots")
def test_pictures_of_the_chinese_page(lesson, evaluated, visit, tmp_path):
    with serving(lesson, "web", "/", tmp_path / "log", LANG="zh_CN.UTF-8") as chinese:
        phone = visit(chinese, viewport={"width": 390, "height": 780}, locale="zh-CN")
        for question in ("你是谁？", "比利时的首都是哪里？"):
            ask(phone, question)
            answered(phone)
        shot(phone, "web-phone")
        page = visit(chinese, locale="zh-CN")
        page.get_by_role("tab", name="并排对比").click()
        page.get_by_role("button", name="同时提问").click()
        page.locator("#after").get_by_text("新名字", exact=True).wait_for()
        shot(page, "web-side-by-side.zh-CN")
        page.get_by_role("tab", name="评测").click()
        page.locator("#statistics td", has_text=str(ROWS)).first.wait_for()
        shot(page, "web-evaluation.zh-CN")


def test_twenty_visitors_at_once_all_get_an_answer_and_none_another_s(server, lesson):
    """Each visitor's answer equals the one that its question gets alone."""
    from gradio_client import Client

    run = (lesson / "run").resolve()
    lines = [json.loads(line) for line in (run / "eval" / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    expected = {
        line["input"]: line["output"] for line in lines if line["prompt"] == "none" and line["kind"] == "general"
    }
    chosen, said = [], {}
    for question, answer in expected.items():  # answers that differ, so that a mix-up shows
        if answer not in {expected[q] for q in chosen} and len(chosen) < 20:
            chosen.append(question)
    assert len(chosen) == 20
    visitors = [Client(server.url, verbose=False, httpx_kwargs={"trust_env": False}) for _ in chosen]
    together = threading.Barrier(20)

    def one(visitor, question):
        together.wait()
        said[question] = visitor.predict(question, "none", "", 0, 1, 128, api_name="/chat")

    threads = [threading.Thread(target=one, args=pair) for pair in zip(visitors, chosen, strict=True)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    print(f"\n20 visitors: {time.monotonic() - started:.1f} s")
    assert said == {question: expected[question] for question in chosen}


def post(url: str, body: bytes, **headers: str) -> int:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_request_that_is_too_large_or_for_another_host_is_refused(server):
    call = server.url + "/gradio_api/call/chat"
    fine = json.dumps({"data": ["你是谁？", None, "none", "", 0, 1, 16]}).encode()
    assert post(call, fine) == 200
    assert post(call, fine, Host="evil.example") == 400
    assert post(call, b'{"data": ["' + b"a" * LARGEST_REQUEST + b'"]}') == 413


def test_uploads_redirects_and_descriptions_are_closed_and_half_a_character_is_no_crash(server):
    """gradio would take empty files from anybody and never remove them, and send a visitor on to any URL."""
    boundary = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n\r\n--b--\r\n'
    upload = {"Content-Type": "multipart/form-data; boundary=b", "Origin": "http://evil.example"}
    assert post(server.url + "/gradio_api/upload", boundary, **upload) == 404
    for path in ("/openapi.json", "/gradio_api/openapi.json", "/gradio_api/file=http://evil.example/", "/monitoring"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(server.url + path, timeout=60)
    body = b'{"data": ["\\ud800", null, "none", "", 0, 1, 16]}'
    assert post(server.url + "/gradio_api/call/chat", body) in (200, 400)
    assert "Traceback" not in server.screen


def test_what_a_model_says_is_shown_and_neither_runs_nor_loads(rigged, visit):
    page = visit(rigged)
    page.get_by_text("设置").first.click()
    page.locator("#most input[type=number]").fill("60")
    ask(page, "你是谁？")
    answered(page)
    assert HOSTILE in page.locator(BOT).inner_text()
    page.get_by_role("tab", name="并排对比").click()
    page.get_by_role("button", name="同时提问").click()
    page.locator("#after", has_text="pwned").wait_for()
    page.get_by_role("button", name="停止").click()
    page.get_by_role("tab", name="评测").click()
    page.locator("#questions td", has_text="pwned").first.wait_for()
    assert page.get_by_role("heading", name=HOSTILE_NAME).count() == 1
    assert page.locator("img[src*=evil], script:text('pwned')").count() == 0


LEFT = """most => {
  const each = (performance.now() - window.start - window.first) / window.seen.length;
  return each * (most - window.seen.length);
}"""  # ms that the rest of an answer of `most` tokens would take, by the pace so far


def test_stop_ends_a_long_answer_and_frees_the_model_for_the_next_visitor(rigged, visit):
    page, other = visit(rigged), visit(rigged)
    page.get_by_text("设置").first.click()
    page.locator("#most input[type=number]").fill(str(LONGEST_ANSWER))
    ask(page, "你是谁？")
    page.wait_for_function("window.seen.length > 5")
    left = page.evaluate(LEFT, LONGEST_ANSWER)
    page.locator("#question .stop-button").click()
    page.locator("#question .submit-button").wait_for()
    length = page.locator(BOT).inner_text()
    other.get_by_text("设置").first.click()
    other.locator("#most input[type=number]").fill("5")
    ask(other, "你好")
    answered(other)
    waited = other.evaluate("window.first")
    assert page.locator(BOT).inner_text() == length, "it went on after the stop"
    print(f"\nafter a stop, the next visitor's first token: {waited:.0f} ms; the answer had {left:.0f} ms to go")
    assert waited < left / 2


def test_a_visitor_who_leaves_in_the_middle_of_an_answer_frees_the_model(rigged, visit):
    page, other = visit(rigged), visit(rigged)
    for who, most in ((page, LONGEST_ANSWER), (other, 5)):
        who.get_by_text("设置").first.click()
        who.locator("#most input[type=number]").fill(str(most))
    ask(page, "你是谁？")
    page.wait_for_function("window.seen.length > 5")
    left = page.evaluate(LEFT, LONGEST_ANSWER)
    page.close()
    ask(other, "你好")
    answered(other)
    waited = other.evaluate("window.first")
    print(f"\nafter a visitor left, the next one's first token: {waited:.0f} ms; the answer had {left:.0f} ms to go")
    assert waited < left / 2


def test_when_too_many_wait_the_next_one_is_told_so(rigged):
    call = rigged.url + "/gradio_api/call/chat"
    long = json.dumps({"data": ["你是谁？", None, "none", "", 0, 1, LONGEST_ANSWER]}).encode()
    statuses = [post(call, long) for _ in range(LONGEST_QUEUE + 8)]
    assert statuses.count(503) >= 1 and statuses[:10] == [200] * 10


def watch_training(browser, server, language: str):
    """The page of a visitor whose browser speaks `language`, once it shows the training."""
    page = browser.new_context(locale=language, viewport={"width": 390, "height": 780}).new_page()
    page.set_default_timeout(SLOW)
    page.goto(server.url)
    page.locator("#training dd").first.wait_for()
    return page


def test_a_training_is_shown_live_without_a_model_in_the_language_of_each_browser(browser, lesson, tmp_path):
    trained = (lesson / "run").resolve()
    folder = tmp_path / "build" / "runs" / trained.name
    shutil.copytree(
        trained, folder, ignore=lambda _, names: {n for n in names if n.endswith((".pth", "adapter", "merged"))}
    )
    for name in ("run.json", "loss.png"):
        (folder / name).unlink()
    curve = folder / "work_dir" / "curve.jsonl"
    lines = curve.read_text(encoding="utf-8").splitlines(keepends=True)
    curve.write_text("".join(lines[:11]), encoding="utf-8")
    with (
        open(folder / ".lock", "w") as lock,
        serving(tmp_path / "build", "web", "/", tmp_path / "log", LANG="C.UTF-8") as server,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)  # as make train does
        os.utime(curve)
        english, chinese = (watch_training(browser, server, language) for language in ("en-US", "zh-CN"))
        total = json.loads(lines[0])["total"]
        expect(english.locator("#training")).to_contain_text(f"10 / {total}", timeout=SLOW)
        expect(english.locator("#training")).to_contain_text("training", timeout=SLOW)
        expect(chinese.locator("#training")).to_contain_text("进行中", timeout=SLOW)
        assert chinese.get_by_role("tab").all_inner_texts() == ["训练"]
        assert english.get_by_role("tab").all_inner_texts() == ["Training"]
        with open(curve, "a", encoding="utf-8") as file:
            file.write("".join(lines[11:21]) + lines[21][:9])
        for page, left in ((english, "time left"), (chinese, "剩余时间")):
            expect(page.locator("#training")).to_contain_text(f"20 / {total}", timeout=SLOW)
            expect(page.locator("#training")).to_contain_text(left)
            expect(page.locator("#samples")).to_contain_text(NAME)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
        fcntl.flock(lock, fcntl.LOCK_UN)
        expect(chinese.locator("#training")).to_contain_text("停在第 20", timeout=SLOW)
        expect(english.locator("#training")).to_contain_text("stopped at step 20", timeout=SLOW)
        expect(english.locator("#training code")).to_have_text("make train")
        for page in (english, chinese):
            page.context.close()
    assert "Traceback" not in server.screen


def test_a_visitor_reads_the_page_in_the_browser_s_language_and_a_finished_training_on_it(server, visit):
    page = visit(server, locale="zh-CN")
    assert page.get_by_role("tab").all_inner_texts() == ["对话", "并排对比", "评测", "训练"]
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.get_by_role("tab", name="评测").click()
    page.locator("#questions td", has_text="浦语").first.wait_for()
    assert page.locator("#statistics th", has_text="行数").count() == 1, "what a click gives is Chinese too"
    assert not [url for url in requests if url.endswith("/predict")], "nobody looks at the training"
    page.get_by_role("tab", name="训练").click()
    expect(page.locator("#training")).to_contain_text("已完成")
    expect(page.locator("#training code")).to_have_text("make submission NAME=…")  # it is evaluated
    expect(page.locator("#samples")).to_contain_text("训练前")


def test_the_training_is_looked_at_only_while_its_tab_is_open(server, visit):
    """Opened at once, then every INTERVAL seconds; with another tab open, nobody asks."""
    page, asked = visit(server), []
    page.on("request", lambda request: asked.append(time.monotonic()) if request.url.endswith("/predict") else None)
    for _ in range(2):  # it goes on when it is opened again
        page.get_by_role("tab", name="Training").click()
        page.locator("#training dd").first.wait_for()
        before = len(asked)
        page.wait_for_timeout(1000 * (2 * INTERVAL + 1))
        assert len(asked) >= before + 2
        page.get_by_role("tab", name="Chat").click()
        page.locator("#question textarea").wait_for()
        page.wait_for_timeout(500)  # for a question that is on its way
        before = len(asked)
        page.wait_for_timeout(1000 * (2 * INTERVAL + 1))
        assert len(asked) == before
