"""What a visitor's click on the page does: answers as they are made, two answers side by side, a file to download."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lesson.core.files import atomic
from lesson.core.messages import UserError
from lesson.core.settings import Values
from lesson.evaluation.asking import Chat, Sampling, build_chat
from lesson.evaluation.base_names import list_names_to_show
from lesson.evaluation.held_out import read_system_prompts
from lesson.runs.folder import Run
from lesson.serving import page_figures
from lesson.serving.models import Models
from lesson.serving.page_texts import format_conversation, read_history, refuse_unusable_texts

USUAL_ANSWER = 256  # tokens
OWN = "own"  # the system prompt that the visitor writes


class PageActions:
    """The event handlers of a page about `run` (None: there is none, and only the base to talk to)."""

    def __init__(self, models: Models, values: Values, run: Run | None) -> None:
        self.models, self.values, self.run = models, values, run
        self.record = run.read_record() if run else None
        self.base_names = list_names_to_show(values, run)
        self.names: dict[str, str] = self.record["names"] if self.record else {}
        self.prompts = read_system_prompts(self.record["persona"] if self.record else "", models.default_prompt)

    @property
    def title(self) -> str:
        """Whose page it is: the assistant's new name, or the base's."""
        return self.names["new"] if self.names and self.models.use != "base" else self.base_names[0]

    def choose_system_prompt(self, choice: str, own: str) -> str:
        """The text of the system prompt `choice`; `own` is what the visitor wrote."""
        return own.strip() if choice == OWN else self.prompts[choice]

    def stream_answer(self, chat: Chat, sampling: Sampling, base: bool = False) -> Iterator[str]:
        """The answer so far, again and again; a UserError becomes gradio's own message box."""
        try:
            refuse_unusable_texts(*(message["content"] for message in chat))
            with self.models.ask(chat, sampling, base) as reply:
                text = ""
                for piece in reply:
                    text += piece
                    yield text.lstrip()
        except UserError as error:
            import gradio as gr

            raise gr.Error(str(error), print_exception=False) from None

    def answer_message(
        self, message: str, history: list[dict], choice: str, own: str, heat: float, top_p: float, most: float
    ) -> Iterator[str]:
        """ChatInterface's function: a question and what was said before; yields the answer so far."""
        # The names of the arguments, and the line above, are shown to those who call the page's API: `heat` is the
        # temperature, `most` the most tokens.
        system = build_chat(self.choose_system_prompt(choice, own))
        chat = system + read_history(history) + build_chat("", message)
        yield from self.stream_answer(chat, Sampling(heat, top_p, int(most)))

    def answer_side_by_side(self, question: str, choice: str, own: str) -> Iterator[tuple[list, list]]:
        """Both answers to one question, greedy, their names marked: the base's first, as it was before training."""
        chat = build_chat(self.choose_system_prompt(choice, own), question)
        sampling = Sampling(max_tokens=USUAL_ANSWER)
        before, after = [], []
        yield before, after
        for text in self.stream_answer(chat, sampling, base=True):
            before = page_figures.mark_names(text, self.names, self.base_names)
            yield before, after
        for text in self.stream_answer(chat, sampling):
            after = page_figures.mark_names(text, self.names, self.base_names)
            yield before, after

    def export_conversation(
        self, form: str, history: list[dict], choice: str, own: str, temperature: float, top_p: float, most: float
    ) -> str:
        """Write the conversation to a file of its own and give its path, for the visitor to download."""
        conversation = build_chat(self.choose_system_prompt(choice, own)) + read_history(history)
        about = {
            "name": self.title,
            "run": self.record["id"] if self.record else None,
            "use": self.models.use,
            "temperature": temperature,
            "top_p": top_p,
            "max_tokens": int(most),
        }
        folder = Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"]))
        path = folder / f"conversation.{form}"
        with atomic(path) as file:
            file.write(format_conversation(form, conversation, about))
        return str(path)

    def filter_questions(self, prompt: str, kind: str, shown: str) -> str:
        """The table of the evaluation's questions that the three filters leave; `shown` is all or failed."""
        failed = shown == page_figures.FAILED
        return page_figures.make_question_table(self.run, self.values, prompt, kind, failed)
