# The interface. Each target is one line that calls one recipe module, or pytest, ruff and uv for those who keep this
# repository; variables reach it through the environment.
# A line `target: ## English | 中文 | VARIABLES` is what `make` alone prints (recipe/help.py).
# Make expands a value that is given on its command line: the name of a file that was handed in, $(shell …), would run.
# Such a value is refused unexpanded. One in the environment (SUBMISSION=… make check) is never expanded, but for those that
# stand in this file: they are refused as well.
$(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $v)),$(if $(findstring $$,$(value $v)),$(error $v: make would run a $$ in it; set it before make: $v='…' make …))))
$(foreach v,USE PYTHON VENV CHECK_VENV,$(if $(findstring environment,$(origin $v)),$(if $(findstring $$,$(value $v)),$(error $v: make would run a $$ in it; write a value without one))))
PYTHON ?= python3
# A target or a variable that there is not, or that these targets do not use, stops make before anything is written. Make's
# own functions alone would not find the nearest name. Both lists stand between quotes, with their own quotes escaped.
ifeq ($(MAKELEVEL),0)
GIVEN := $(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $v)),$v))
WRONG := $(shell PYTHONUTF8=1 $(PYTHON) -m recipe.command_line '$(subst ','\'',$(MAKECMDGOALS))' '$(subst ','\'',$(GIVEN))' 2>/dev/null)
$(if $(WRONG),$(error $(WRONG)))
endif
VENV   ?= .venv
PY     := $(VENV)/bin/python
# Checking needs a small venv only; where the full one is, it does as well.
CHECK_VENV ?= .venv-check
CHECK_PY := $(if $(wildcard $(PY)),$(PY),$(CHECK_VENV)/bin/python)
EXPORT_VENV ?= .venv-export
export VENV
export EXPORT_VENV
export CHECK_VENV
export PYTHONUTF8 = 1

COMPILE := uv pip compile -q --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url --no-header

.DEFAULT_GOAL := help
.PHONY: help setup setup-check setup-export doctor data check-data stats synth ask model preview config check-config estimate train runs compare compare-loss golden-loss convert merge eval export push submission check check-all chat all base bench bench-names bench-data bench-loss bench-check bench-gpu bench-gpus bench-small bench-export smoke-7b wheelhouse fuzz golden docs test test-fast mutants lint lock bump updates web serve screenshots

help:
	@$(PYTHON) -m recipe.help

# A stage without the venv would fail with make's own words; this says what to do.
$(PY):
	@echo "error: $(PY): no such file; run make setup" >&2; exit 2
$(CHECK_VENV)/bin/python:
	@echo "error: $@: no such file; run make setup-check, or make setup" >&2; exit 2

setup: ## install everything of requirements.lock into one venv | 按 requirements.lock 安装到一个 venv | PYTHON VENV
	@$(PYTHON) -m recipe.setup
setup-check: ## install what checking needs, without torch, in seconds | 只安装检查所需的包，不含 torch，几秒完成 | PYTHON CHECK_VENV
	@$(PYTHON) -m recipe.setup check
setup-export: | $(PY) ## install what export needs, over the first venv | 安装导出所需的包（叠加在主 venv 上） | EXPORT_VENV
	@$(PY) -m recipe.setup export
doctor: | $(PY) ## check packages, versions, memory, disk and GPU | 检查软件包、版本、内存、磁盘和显卡 | BASE_CONFIG FORMAT
	@$(PY) -m recipe.doctor
data: | $(PY) ## check the rows, replace the old name, check again | 检查数据、替换名字、再检查 | SRC OLD_NAME NEW_NAME OLD_AUTHOR NEW_AUTHOR MAP ACCEPT GENERAL SEED FORCE
	@$(PY) -m recipe.data
check-data: | $(CHECK_PY) ## check rows only, with every warning | 只检查数据，列出所有警告 | SRC OLD_NAME NEW_NAME
	@$(CHECK_PY) -m recipe.validate
stats: | $(PY) ## statistics of the rows: table, JSON, HTML | 数据统计：表格、JSON、HTML | SRC OLD_NAME
	@$(PY) -m recipe.stats
synth: | $(PY) ## write a fresh set of self-cognition rows | 生成新的自我认知数据 | NEW_NAME AUTHOR ROWS SEED GENERAL ENGLISH FORCE
	@$(PY) -m recipe.synth
ask: | $(PY) ## rows from any OpenAI-compatible model | 向 OpenAI 兼容的模型提问得到数据 | BASE_URL MODEL_NAME QUESTIONS CONCURRENCY
	@$(PY) -m recipe.ask
model: | $(PY) ## fetch or link the base model, and check it | 下载或链接基座模型并检查 | MODEL HUB REVISION BASE_CONFIG PROMPT_TEMPLATE CONFIG FORCE
	@$(PY) -m recipe.model
preview: model ## the first rows, as you and as the model see them | 查看前几行，人和模型的视角 | ROWS SRC
	@$(PY) -m recipe.preview
config: | $(PY) ## XTuner's stock config with the lesson's edits | 复制并修改 XTuner 自带配置 | MODEL BASE_CONFIG CONFIG SPEED SEED DETERMINISTIC FORCE RESET training
	@$(PY) -m recipe.config
check-config: | $(CHECK_PY) ## judge a config without running it | 不运行即检查配置 | CONFIG BASE_CONFIG OLD_NAME DEEPSPEED NPROC_PER_NODE NNODES FORMAT
	@$(CHECK_PY) -m recipe.check_config
estimate: | $(PY) ## parameters, steps, memory, time before training | 训练前估算参数、步数、显存、用时 | CONFIG BASE_CONFIG SPEED DEEPSPEED GPU MODEL TOKENS_PER_SECOND NPROC_PER_NODE NNODES FORMAT
	@$(PY) -m recipe.estimate
# In this order, also with make -j: the base decides which stock config is copied, and its values.
.NOTPARALLEL:
train: model config ## train with XTuner; the same command resumes | 用 XTuner 训练；再次运行可继续 | CONFIG BASE_CONFIG SPEED DETERMINISTIC RESET DEEPSPEED OLD_NAME NEW_NAME TRACE TRACKER TENSORBOARD NPROC_PER_NODE NNODES NODE_RANK MASTER_ADDR MASTER_PORT
	@$(PY) -m recipe.train
runs: | $(PY) ## past runs with their key figures | 列出所有训练及主要数据 | FORMAT
	@$(PY) -m recipe.list_runs
compare: | $(PY) ## two runs side by side | 并排比较两个训练 | A B FORMAT
	@$(PY) -m recipe.compare
compare-loss: | $(PY) ## are two loss curves the same? | 两条损失曲线是否相同 | A B FORMAT
	@$(PY) -m recipe.loss
golden-loss: | $(PY) ## keep a run's loss curve as a golden | 把训练的损失曲线存为 golden | A
	@$(PY) -m recipe.golden_loss
convert: | $(PY) ## checkpoint to Hugging Face adapter | 检查点转为 Hugging Face 适配器 | FORCE RUN
	@$(PY) -m recipe.convert
merge: convert ## adapter and base to one model | 适配器与基座合并为一个模型 | FORCE RUN
	@$(PY) -m recipe.merge
eval: merge ## does it say its name, and keep what it knew? | 是否会自称新名字，常识是否保留 | USE FORMAT QUANT QUESTIONS_SET SAMPLES CHOICES CHOICES_LIMIT RUN
	@$(PY) -m recipe.evaluate
export: merge ## the assistant for other programs: hf, gguf, ollama, adapter | 导出给其他程序：hf、gguf、ollama、adapter | FORMAT QUANT LLAMA_CPP SIGNING_KEY FORCE RUN
	@$(PY) -m recipe.export
push: | $(PY) ## upload an export to Hugging Face's hub, private unless PUBLIC=1 | 把导出上传到 Hugging Face，默认私有 | REPO PUBLIC FORMAT QUANT RUN
	@$(PY) -m recipe.push
chat: merge ## talk to it in the terminal | 在终端与它对话 | USE PROMPT RUN
	@$(PY) -m recipe.chat
# USE=adapter, which web takes by itself, needs no merged model; USE=base needs no training. Without USE it opens for a
# training that is not finished as well: there is nothing to convert yet, and convert is told so. A LANG of make's own command
# line is a choice; that of the environment is the system's, and the page then speaks each visitor's language.
web: export RECIPE_UNFINISHED = $(if $(USE),,1)
web: export RECIPE_LANG_CHOSEN = $(if $(filter command,$(origin LANG)),$(if $(LANG),1))
web: $(if $(filter base,$(USE)),model,$(if $(filter merged,$(USE)),merge,convert)) ## chat, comparison, evaluation and training on a page | 网页：对话、对比、评测、训练进度 | USE HOST PORT ALLOW_HOST ROOT_PATH RUN
	@$(PY) -m recipe.web
serve: $(if $(filter base,$(USE)),model,merge) ## an OpenAI-compatible endpoint of the model | OpenAI 兼容接口 | USE PROMPT HOST PORT ALLOW_HOST ROOT_PATH RUN
	@$(PY) -m recipe.serve
submission: | $(PY) ## pack the finished run to hand it in | 打包训练结果以便提交 | NAME OUT RUBRIC SOURCE PUBLISHED FORCE RUN
	@$(PY) -m recipe.submission
check: | $(CHECK_PY) ## a verdict on a submission, from its files alone | 只看文件，给出提交的检查结果 | SUBMISSION OLD_NAME NEW_NAME MODEL RUBRIC SOURCE PUBLISHED REPORT RERUN QUESTIONS RETRAIN STEPS FORMAT
	@$(CHECK_PY) -m recipe.check
check-all: | $(CHECK_PY) ## verdicts on a folder of submissions, and copies among them | 批量检查，并找出相互复制的提交 | DIR JOBS OLD_NAME NEW_NAME MODEL RUBRIC SOURCE PUBLISHED REPORT RERUN QUESTIONS RETRAIN DRAW STEPS
	@$(CHECK_PY) -m recipe.check_all
all: ## data, config, train, convert, merge and eval | 以上全部 | NEW_NAME
	@$(MAKE) --no-print-directory data && $(MAKE) --no-print-directory train && $(MAKE) --no-print-directory eval
base: | $(PY) ## rebuild the tiny base from scratch | 从头重建 tiny 基座
	@$(PY) -m recipe.base
bench: | $(PY) ## measure the figures of docs/figures.md | 测量 docs/figures.md 中的数据 | NEW_NAME
	@$(PY) -m recipe.bench
bench-names: | $(PY) ## the lesson at tiny for many names, each judged | 用许多名字跑完 tiny 课程并逐一评测 | NAMES SEED SPEED FORCE
	@$(PY) -m recipe.bench_names
bench-data: | $(PY) ## the data stage against the published script | 数据步骤与原脚本比较速度和内存
	@$(PY) -m recipe.bench_data
bench-loss: | $(PY) ## how far loss curves differ, for the band | 测量损失曲线的差异范围 | NEW_NAME
	@$(PY) -m recipe.bench_loss
bench-gpu: | $(PY) ## stock, fast and other trainers at 7B, side by side | 7B 下与 stock、fast、其他训练器比较 | NEW_NAME BUILD RIVALS
	@$(PY) -m recipe.bench_gpu
bench-gpus: | $(PY) ## how training grows with the GPUs of this host, at 7B | 7B 训练速度随本机显卡数的变化 | BUILD
	@$(PY) -m recipe.bench_gpus
bench-small: | $(PY) ## a real base on this machine beside a plain PEFT loop | 本机训练真实小基座，与普通 PEFT 循环比较 | MODEL SRC NEW_NAME BUILD FORCE
	@$(PY) -m recipe.bench_small
bench-export: | $(PY) ## seconds and memory of exporting a random 7B | 导出随机 7B 模型的用时和内存 | MODEL FORMAT QUANT BUILD
	@$(PY) -m recipe.bench_export
smoke-7b: | $(PY) ## the lesson at 7B with random weights, checked | 用随机权重在 7B 上走完全程并检查 | NEW_NAME SPEED QUANT DEEPSPEED BUILD FORCE
	@$(PY) -m recipe.smoke
wheelhouse: | $(PY) ## wheels for a machine without a network | 为没有网络的机器准备 wheel | PYTHON HAVE OUT CUDA
	@$(PY) -m recipe.wheelhouse
bench-check: | $(PY) ## 500 tiny submissions, and one of 7B size | 500 份 tiny 提交和一份 7B 提交的检查用时
	@$(PY) -m recipe.bench_check
fuzz: | $(PY) ## a million mutated inputs for the data stage | 对数据步骤做百万次模糊测试
	@$(PY) -m recipe.fuzz
golden: | $(PY) ## make golden files again; read their diff | 重新生成 golden，请检查差异
	@$(PY) -m recipe.golden
docs: | $(PY) ## docs/settings.md and docs/commands.md from their tables | 由表格生成 docs/settings.md 和 docs/commands.md
	@$(PY) -m recipe.docs
screenshots: eval ## pictures of the page for docs/ | 生成 docs/ 中的网页截图 | BUILD
	@LESSON=$$($(PY) -c "from lesson.core.settings import Values; print(Values({}).build)") SCREENSHOTS=docs $(PY) -m pytest -q tests/serving/test_page.py -k "side_by_side or evaluation or pictures"
# Two phases: what needs no torch; then what does, where the lesson is trained by one process and all other trainings,
# a file after the other, by a second one.
test: | $(PY) ## everything that runs on a CPU | 全部 CPU 测试
	@$(PY) -m pytest -n 2 -m "not gpu and not torch" && $(PY) -m pytest -n 2 --dist loadscope -m "torch and not gpu"
test-fast: | $(PY) ## the tests without torch, in seconds | 不用 torch 的测试，几秒完成
	@$(PY) -m pytest -n auto -m "not gpu and not torch and not slow"
mutants: | $(PY) ## change single operators and numbers of what judges: do the tests notice? | 逐个改动判断代码中的运算符和数字，看测试能否发现 | MUTANTS MODULES SEED
	@$(PY) -m recipe.mutants
bump: | $(PY) ## what is unreleased becomes VERSION; shows the tag's notes, tags nothing | 把未发布的变更记为 VERSION，显示标签说明，不打标签 | VERSION
	@$(PY) -m recipe.bump
updates: | $(PY) ## newer versions of the locked packages, by pip index | 用 pip index 查看锁定软件包的新版本
	@$(PY) -m recipe.updates
lint: | $(PY) ## ruff: rules and layout | ruff 检查
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .
lock: ## the locks from their .in files (needs uv) | 由 .in 文件生成锁文件（需要 uv）
	@$(COMPILE) --override requirements.override requirements.in -o requirements.lock && $(COMPILE) --constraint requirements.lock --override requirements-check.override requirements-check.in -o requirements-check.lock && $(COMPILE) --override requirements-mutants.override requirements-mutants.in -o requirements-mutants.lock && $(COMPILE) requirements-export.in -o requirements-export.lock
