"""Every variable that a user can set, in one table: name, default, check and help in both languages.

A value is taken from the command line (`--new-name 闻星`), else from the environment (`make data NEW_NAME=闻星`
puts it there), else from the default. Standard library only: `make` alone prints this table before any venv exists.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lesson.core.messages import UserError, tr

ROOT = Path(__file__).resolve().parents[2]
LONGEST_NAME = 64  # characters; far above any name, far below what would fill a training row


@dataclass(frozen=True)
class Setting:
    """One variable: `check` turns the text into a value and raises ValueError with the accepted range."""

    name: str
    default: str
    en: str
    zh: str
    check: Callable[[str], object] = str

    @property
    def flag(self) -> str:
        return "--" + self.name.lower().replace("_", "-")

    def parse(self, text: str) -> object:
        """The value of `text`. Raises UserError that names the variable, the text and what is accepted."""
        try:
            return self.check(text)
        except ValueError as error:
            raise UserError(
                f"{self.name}={text!r}",
                tr(f"not accepted: {error}", f"不接受：{error}"),
                tr(f"set {self.name} to an accepted value ({self.en})", f"请改正 {self.name}（{self.zh}）"),
            ) from None


def one_of(*choices: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in choices:
            raise ValueError(tr("one of ", "只能是 ") + ", ".join(choices))
        return text

    return check


def integer(low: int, high: int) -> Callable[[str], int]:
    def check(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise ValueError(tr(f"a whole number from {low} to {high}", f"应为 {low} 到 {high} 的整数"))
        return value

    return check


def number(low: float, high: float) -> Callable[[str], float]:
    def check(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:  # also false for NaN
            raise ValueError(tr(f"a number from {low:g} to {high:g}", f"应为 {low:g} 到 {high:g} 的数"))
        return value

    return check


def optional(check: Callable[[str], object]) -> Callable[[str], object]:
    """`check`, with the empty text as None: the variable was not set and the profile's value holds."""
    return lambda text: None if text == "" else check(text)


def betas(text: str) -> tuple[float, float]:
    parts = text.split(",")
    try:
        values = tuple(number(0, 0.9999)(part.strip()) for part in parts)
    except ValueError:
        values = ()
    if len(values) != 2:
        raise ValueError(tr("two numbers from 0 to 0.9999, as 0.9,0.999", "应为两个 0 到 0.9999 的数，写作 0.9,0.999"))
    return values


def save_limit(text: str) -> int:
    value = integer(-1, 1000)(text)
    if value == 0:
        raise ValueError(tr("-1 for all, or a whole number from 1 to 1000", "应为 -1（全部保留）或 1 到 1000 的整数"))
    return value


# GPU -> memory in GB (10^9 bytes, as makers count), for estimates. InternStudio rents shares of an A100 with 80 GB.
GPUS = {
    **{"A100": 80, "A100-40G": 40, "A800": 80, "H100": 80, "H800": 80, "H20": 96, "H200": 141, "L4": 24, "L20": 48},
    **{"L40S": 48, "A10": 24, "A30": 24, "A40": 48, "A6000": 48, "V100": 32, "V100-16G": 16, "T4": 16, "P100": 16},
    **{"RTX3090": 24, "RTX4090": 24, "RTX5090": 32, "RTX4080": 16, "RTX3060": 12},
}


def gpu(text: str) -> float:
    """Memory in GB of a GPU named, of a share of one (A100-30%) or given as a number of GB."""
    model, _, share = text.rpartition("-") if text.endswith("%") else (text, "", "100%")
    try:
        memory = GPUS[model.upper()] if model.upper() in GPUS else float(model)
        memory *= number(1, 100)(share.removesuffix("%")) / 100
    except ValueError:
        memory = 0.0
    if not 0 < memory < 10_000:
        raise ValueError(tr("GB of memory, or one of ", "显存 GB 数，或 ") + ", ".join(GPUS) + ", A100-30%")
    return memory


def cuda(text: str) -> str:
    if text and not (text.isdigit() and len(text) == 3):
        raise ValueError(tr("three digits, as 130 for CUDA 13.0", "三位数字，如 CUDA 13.0 写作 130"))
    return text


def switch(text: str) -> bool:
    if text not in ("", "0", "1"):
        raise ValueError(tr("0 or 1", "只能是 0 或 1"))
    return text == "1"


def name(text: str) -> str:
    if not text.strip():
        raise ValueError(tr("a name must not be empty", "名字不能为空"))
    if text != text.strip():
        raise ValueError(tr("a name must not begin or end with white space", "名字首尾不能有空白"))
    if len(text) > LONGEST_NAME:
        raise ValueError(tr(f"at most {LONGEST_NAME} characters", f"最多 {LONGEST_NAME} 个字符"))
    if any(ord(c) < 32 or 0xD800 <= ord(c) <= 0xDFFF or ord(c) == 0x7F for c in text):
        raise ValueError(tr("a name must not hold control characters", "名字不能含控制字符"))
    if "<|" in text or "[UNUSED_TOKEN" in text:
        raise ValueError(tr("a name must not hold chat tokens", "名字不能含对话标记"))
    return text


def host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", text):
        raise ValueError(tr("a host name or an IP address", "应为主机名或 IP 地址"))
    return text


def default_profile() -> str:
    """`7b` where the NVIDIA driver's tool is on the PATH, else `tiny`: decided without importing torch."""
    return "7b" if shutil.which("nvidia-smi") else "tiny"


# XTuner 0.2.0's chat templates (xtuner/utils/templates.py) and the optimizers that take its lr, betas and weight_decay.
TEMPLATES = [
    "default",
    "zephyr",
    "internlm_chat",
    "internlm2_chat",
    "moss_sft",
    "llama2_chat",
    "code_llama_chat",
    "chatglm2",
    "chatglm3",
    "qwen_chat",
    "baichuan_chat",
    "baichuan2_chat",
    "wizardlm",
    "wizardcoder",
    "vicuna",
    "deepseek_coder",
    "deepseekcoder",
    "deepseek_moe",
    "deepseek_v2",
    "mistral",
    "mixtral",
    "minicpm",
    "minicpm3",
    "gemma",
    "cohere_chat",
    "llama3_chat",
    "phi3_chat",
]
OPTIMIZERS = ("AdamW", "Adam", "NAdam", "RAdam", "Adamax", "AdamW8bit", "PagedAdamW8bit", "PagedAdamW32bit")

# The lesson's training parameters. Unset means: what the profile says, else what the stock config says.
TRAINING = [
    Setting(
        "MAX_LENGTH",
        "",
        "tokens in a training sample, longer rows are cut (32 to 1048576)",
        "每条训练样本的词元数，超出部分截断（32 到 1048576）",
        optional(integer(32, 2**20)),
    ),
    Setting(
        "PACK",
        "",
        "1: pack rows into samples of MAX_LENGTH tokens, 0: one row a sample",
        "1：把多行拼成 MAX_LENGTH 长的样本，0：一行一个样本",
        optional(switch),
    ),
    Setting(
        "ACCUM",
        "",
        "steps whose gradients are summed before the optimizer moves (1 to 4096)",
        "梯度累积的步数（1 到 4096）",
        optional(integer(1, 4096)),
    ),
    Setting(
        "SEQ_PARALLEL",
        "",
        "GPUs that share one sequence; needs DeepSpeed and flash-attn (1 to 64)",
        "共同处理一条序列的显卡数；需要 DeepSpeed 和 flash-attn（1 到 64）",
        optional(integer(1, 64)),
    ),
    Setting(
        "BATCH",
        "",
        "samples per GPU in a step (1 to 1024)",
        "每张显卡每步的样本数（1 到 1024）",
        optional(integer(1, 1024)),
    ),
    Setting(
        "WORKERS", "", "processes that load data (0 to 64)", "加载数据的进程数（0 到 64）", optional(integer(0, 64))
    ),
    Setting("EPOCHS", "", "passes over the data (1 to 1000)", "训练轮数（1 到 1000）", optional(integer(1, 1000))),
    Setting(
        "OPTIM",
        "",
        "optimizer: " + ", ".join(OPTIMIZERS),
        "优化器：" + "、".join(OPTIMIZERS),
        optional(one_of(*OPTIMIZERS)),
    ),
    Setting("LR", "", "peak learning rate (1e-7 to 0.1)", "学习率峰值（1e-7 到 0.1）", optional(number(1e-7, 0.1))),
    Setting(
        "BETAS",
        "",
        "Adam's betas: two numbers from 0 to 0.9999, as 0.9,0.999",
        "Adam 的两个 beta：0 到 0.9999，写作 0.9,0.999",
        optional(betas),
    ),
    Setting("WEIGHT_DECAY", "", "weight decay (0 to 1)", "权重衰减（0 到 1）", optional(number(0, 1))),
    Setting(
        "MAX_NORM",
        "",
        "gradients are clipped to this norm (0.001 to 1000)",
        "梯度裁剪的范数上限（0.001 到 1000）",
        optional(number(0.001, 1000)),
    ),
    Setting(
        "WARMUP",
        "",
        "share of training in which the learning rate rises (0.001 to 0.5; mmengine refuses an empty warm-up)",
        "学习率预热占训练的比例（0.001 到 0.5；mmengine 不接受空的预热）",
        optional(number(0.001, 0.5)),
    ),
    Setting(
        "SAVE_STEPS",
        "",
        "steps between checkpoints (1 to 1000000)",
        "每隔多少步存一次检查点（1 到 1000000）",
        optional(integer(1, 10**6)),
    ),
    Setting(
        "SAVE_LIMIT",
        "",
        "checkpoints kept; -1 keeps all (-1 to 1000, not 0)",
        "保留几个检查点；-1 全部保留（-1 到 1000，不能为 0）",
        optional(save_limit),
    ),
    Setting(
        "PROMPT_TEMPLATE",
        "",
        "XTuner's chat template: " + ", ".join(TEMPLATES),
        "XTuner 的对话模板：" + "、".join(TEMPLATES),
        optional(one_of(*TEMPLATES)),
    ),
    Setting(
        "LORA_R", "", "rank of the LoRA matrices (1 to 1024)", "LoRA 的秩（1 到 1024）", optional(integer(1, 1024))
    ),
    Setting(
        "LORA_ALPHA",
        "",
        "LoRA's scale is LORA_ALPHA / LORA_R (1 to 4096)",
        "LoRA 的缩放为 LORA_ALPHA / LORA_R（1 到 4096）",
        optional(integer(1, 4096)),
    ),
    Setting(
        "LORA_DROPOUT", "", "dropout before LoRA (0 to 0.9)", "LoRA 前的 dropout（0 到 0.9）", optional(number(0, 0.9))
    ),
    Setting(
        "DTYPE",
        "",
        "number format of training: float16, bfloat16 or float32",
        "训练的数值格式：float16、bfloat16 或 float32",
        optional(one_of("float16", "bfloat16", "float32")),
    ),
    Setting(
        "QUANT",
        "",
        "the base in 4 bits (nf4, as in the lesson) or not quantised (none)",
        "基座用 4 位（nf4，课程的做法）或不量化（none）",
        optional(one_of("nf4", "none")),
    ),
    Setting(
        "ANSWER_TOKENS",
        "",
        "longest answer to the questions asked during training, in tokens (1 to 4096; the stock 600 take a minute)",
        "训练中提问的回答最多多少词元（1 到 4096；自带的 600 要用一分钟）",
        optional(integer(1, 4096)),
    ),
]

SETTINGS = {
    s.name: s
    for s in [
        Setting(
            "PROFILE",
            "",
            "tiny (CPU) or 7b (CUDA GPU); default: 7b where nvidia-smi is found, else tiny",
            "tiny（CPU）或 7b（CUDA 显卡）；默认：有 nvidia-smi 则 7b，否则 tiny",
            one_of("tiny", "7b"),
        ),
        Setting(
            "SPEED",
            "stock",
            "stock (the lesson's own way of computing) or fast (the same training, computed faster)",
            "stock（课程原来的计算方式）或 fast（同样的训练，算得更快）",
            one_of("stock", "fast"),
        ),
        Setting(
            "BUILD", "", "folder for all that is made; default build/$(PROFILE)", "产物目录；默认 build/$(PROFILE)"
        ),
        Setting("SRC", "data/assistant_Tuner.jsonl", "source rows, JSON Lines", "源数据，JSON Lines"),
        Setting("OLD_NAME", "尖米", "name in the source rows", "源数据里的名字", name),
        Setting("NEW_NAME", "机智流", "name that the assistant shall say", "想让助手自称的名字", name),
        Setting("OLD_AUTHOR", "一群喜欢学习的人", "author in the source rows", "源数据里的作者", name),
        Setting(
            "NEW_AUTHOR",
            "",
            "author that the assistant shall name; default: unchanged",
            "想让助手说的作者；默认不变",
            name,
        ),
        Setting("MAP", "", "further replacements at the same time: OLD=NEW;OLD=NEW", "同时进行的其他替换：旧=新;旧=新"),
        Setting(
            "ROWS",
            "3",
            "rows that preview shows (3), or synth writes (1000); 1 to 100000",
            "preview 显示（3）或 synth 写出（1000）的行数，1 到 100000",
            integer(1, 100_000),
        ),
        Setting(
            "AUTHOR",
            "",
            "who made the assistant, in the rows of synth; default: nobody is named",
            "synth 所写数据中助手的作者；默认不提",
            optional(name),
        ),
        Setting(
            "GENERAL",
            "0.3",
            "share of general rows in synth, against forgetting (0 to 0.9)",
            "synth 中通用问答的比例，防遗忘（0 到 0.9）",
            number(0, 0.9),
        ),
        Setting(
            "BASE_URL",
            "",
            "endpoint of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1",
            "OpenAI 兼容服务的地址，如 http://127.0.0.1:8000/v1",
        ),
        Setting("MODEL_NAME", "", "model to ask at BASE_URL", "向 BASE_URL 请求的模型名"),
        Setting(
            "QUESTIONS",
            "",
            "file with one question a line, or JSON Lines with input; RERUN=1 asks data/eval/identity.json without it",
            "问题文件：每行一个，或带 input 的 JSON Lines；RERUN=1 默认用 data/eval/identity.json",
        ),
        Setting(
            "CONCURRENCY",
            "4",
            "questions asked at the same time (1 to 64)",
            "同时提问的个数（1 到 64）",
            integer(1, 64),
        ),
        Setting("MODEL", "", "folder of the downloaded base model (7b)", "下载好的基座模型目录（7b）"),
        Setting(
            "BASE_CONFIG",
            "internlm2_5_chat_7b_qlora_alpaca_e3",
            "XTuner's stock config to copy",
            "要复制的 XTuner 自带配置",
        ),
        Setting(
            "CONFIG",
            "",
            "config to train with; default: the one that make config writes",
            "训练用的配置；默认用 make config 的产物",
        ),
        Setting(
            "DEEPSPEED",
            "",
            "XTuner's DeepSpeed config, or none; default: deepspeed_zero2 at 7b, none at tiny and with SPEED=fast",
            "XTuner 的 DeepSpeed 配置或 none；默认 7b 用 deepspeed_zero2，tiny 和 SPEED=fast 不用",
        ),
        Setting("SEED", "42", "random seed (0 to 4294967295)", "随机种子（0 到 4294967295）", integer(0, 2**32 - 1)),
        Setting(
            "DETERMINISTIC",
            "",
            "1: only kernels that give the same bits each time (slower on a GPU; the CPU has no others)",
            "1：只用结果逐位相同的算子（GPU 上更慢；CPU 本来如此）",
            switch,
        ),
        Setting(
            "TRACE",
            "",
            "1: profile three steps, into work_dir/trace.txt and trace.json.gz",
            "1：剖析三步训练，写入 work_dir/trace.txt 和 trace.json.gz",
            switch,
        ),
        *TRAINING,
        Setting(
            "NPROC_PER_NODE",
            "1",
            "training processes on this machine, one for each GPU (1 to 64)",
            "本机的训练进程数，每张显卡一个（1 到 64）",
            integer(1, 64),
        ),
        Setting(
            "NNODES", "1", "machines that train together (1 to 1024)", "一起训练的机器数（1 到 1024）", integer(1, 1024)
        ),
        Setting(
            "NODE_RANK",
            "0",
            "number of this machine; 0 keeps the record (0 to 1023)",
            "本机编号；0 号负责记录（0 到 1023）",
            integer(0, 1023),
        ),
        Setting("MASTER_ADDR", "127.0.0.1", "address of machine 0", "0 号机器的地址"),
        Setting(
            "MASTER_PORT",
            "",
            "TCP port on machine 0 (1024 to 65535); default: a free one, 29500 with NNODES",
            "0 号机器的 TCP 端口（1024 到 65535）；默认自动选取，多机时 29500",
            optional(integer(1024, 65535)),
        ),
        Setting(
            "TENSORBOARD",
            "0",
            "1: write TensorBoard's event files into the run's work_dir as well",
            "1：在 work_dir 里同时写 TensorBoard 事件文件",
            switch,
        ),
        Setting(
            "A", "", "first of two runs: an id or the beginning of one, or a file", "两者之一：编号或其开头，或文件"
        ),
        Setting("B", "", "second of two runs, as A", "两者之二，同 A"),
        Setting(
            "USE",
            "merged",
            "what to talk to: merged, adapter (base + adapter) or base",
            "用哪个模型对话：merged、adapter（基座+适配器）或 base",
            one_of("merged", "adapter", "base"),
        ),
        Setting(
            "PROMPT",
            "persona",
            "system prompt of the chat: persona, none or neutral",
            "对话的系统提示：persona、none 或 neutral",
            one_of("persona", "none", "neutral"),
        ),
        Setting(
            "HOST",
            "127.0.0.1",
            "address that make web and make serve listen on; 0.0.0.0 lets other machines in",
            "make web 和 make serve 监听的地址；0.0.0.0 允许其他机器访问",
            host,
        ),
        Setting(
            "PORT",
            "",
            "port of make web (7860) or make serve (8000); 1 to 65535",
            "make web（7860）或 make serve（8000）的端口；1 到 65535",
            optional(integer(1, 65535)),
        ),
        Setting(
            "GPU",
            "",
            "GPU to estimate for: a name such as A100-30% (24 GB), or GB of memory; default: the one at hand",
            "估算所针对的显卡：名称如 A100-30%（24 GB），或显存 GB 数；默认本机显卡",
            optional(gpu),
        ),
        Setting(
            "TOKENS_PER_SECOND",
            "",
            "throughput to estimate the time with, all GPUs together (1 to 1e9)",
            "估算用时所用的吞吐量，所有显卡合计（1 到 1e9）",
            optional(number(1, 1e9)),
        ),
        Setting("NAME", "", "who hands in: a name or a student number", "提交者：姓名或学号", name),
        Setting(
            "OUT",
            "",
            "what make submission writes: a .zip, or a folder; default $(BUILD)/submission.zip",
            "make submission 的产物：.zip 或目录；默认 $(BUILD)/submission.zip",
        ),
        Setting("SUBMISSION", "", "submission to check: a folder, a zip or a tar", "要检查的提交：目录、zip 或 tar"),
        Setting(
            "RUBRIC", "", "points and threshold; default rubric/default.toml", "评分文件；默认 rubric/default.toml"
        ),
        Setting(
            "SOURCE",
            "",
            "the course's source rows; rows that differ from them, the name replaced, are shown",
            "课程源数据；与其替换结果不同的行会列出",
        ),
        Setting(
            "PUBLISHED",
            "",
            "folder of runs that nobody may hand in, besides those of golden/ (python -m recipe.published)",
            "不得冒充提交的已公布训练所在目录，golden/ 之外（python -m recipe.published）",
        ),
        Setting(
            "REPORT",
            "",
            "reports to write: NAME.json, NAME.xml (JUnit), NAME.html, NAME.csv, results.json (Gradescope), github; commas between",
            "要写的报告：NAME.json、NAME.xml（JUnit）、NAME.html、NAME.csv、results.json（Gradescope）、github；逗号分隔",
        ),
        Setting(
            "RERUN",
            "0",
            "1: ask the submitted adapter again, on the staff's own base (needs make setup)",
            "1：用教师自己的基座重新提问（需要 make setup）",
            switch,
        ),
        Setting(
            "HAVE",
            "",
            "what pip list --format=freeze prints on the other machine",
            "另一台机器上 pip list --format=freeze 的输出文件",
        ),
        Setting(
            "CUDA",
            "",
            "CUDA version of the other machine, as 130; default: keep all",
            "另一台机器的 CUDA 版本，如 130；默认全部保留",
            cuda,
        ),
        Setting("DIR", "", "folder of submissions to check", "存放多个提交的目录"),
        Setting(
            "JOBS",
            "2",
            "submissions checked at the same time (1 to 256)",
            "同时检查的个数（1 到 256）",
            integer(1, 256),
        ),
        Setting("FORMAT", "text", "text or json", "text 或 json", one_of("text", "json")),
        Setting("FORCE", "0", "1: overwrite a file that you edited", "1：覆盖你改过的文件", switch),
        Setting("LANG", "", "zh… for Chinese messages, anything else for English", "zh… 显示中文，其他显示英文"),
    ]
}


class Values:
    """The settings of one call, parsed when asked for: `values.new_name`, `values.build`."""

    def __init__(self, flags: Mapping[str, str | None], environment: Mapping[str, str] | None = None) -> None:
        self._flags = {key.upper(): value for key, value in flags.items() if value is not None}
        self._environment = os.environ if environment is None else environment

    def text(self, key: str) -> str:
        setting = SETTINGS[key]
        if key in self._flags:
            return self._flags[key]
        # An empty NEW_NAME= was typed by somebody and is an error; an empty PROFILE= means the default.
        given = self._environment.get(key)
        if given is None or (given == "" and setting.default == ""):
            return setting.default
        return given

    def given(self, key: str) -> bool:
        """Whether the user set it, on the command line or in the environment."""
        return key in self._flags or bool(self._environment.get(key))

    def __getattr__(self, attribute: str) -> object:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        return SETTINGS[attribute.upper()].parse(self.text(attribute.upper()))

    @property
    def profile(self) -> str:
        return SETTINGS["PROFILE"].parse(self.text("PROFILE") or default_profile())

    @property
    def profile_file(self) -> str:
        """The stem of the profile's file in profiles/: each profile has a variant for SPEED=fast."""
        return self.profile + ("_fast" if self.speed == "fast" else "")

    @property
    def deepspeed_config(self) -> str:
        """DEEPSPEED, or what it is when it was not set: stock at 7b trains as the lesson does."""
        stock = self.profile == "7b" and self.speed == "stock"
        return self.deepspeed or ("deepspeed_zero2" if stock else "none")

    @property
    def build(self) -> Path:
        return Path(self.text("BUILD") or f"build/{self.profile}")
