import torch
from datasets import load_dataset
from mmengine.dataset import DefaultSampler
from mmengine.hooks import CheckpointHook, DistSamplerSeedHook, IterTimerHook, LoggerHook, ParamSchedulerHook
from mmengine.optim import AmpOptimWrapper, CosineAnnealingLR, LinearLR
from peft import LoraConfig
from torch.optim import AdamW
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from xtuner.dataset import process_hf_dataset
from xtuner.dataset.collate_fns import default_collate_fn
from xtuner.dataset.map_fns import alpaca_map_fn, template_map_fn_factory
from xtuner.engine.hooks import DatasetInfoHook, EvaluateChatHook, ThroughputHook, VarlenAttnArgsToMessageHubHook
from xtuner.engine.runner import TrainLoop
from xtuner.model import SupervisedFinetune
from xtuner.parallel.sequence import SequenceParallelSampler
from xtuner.utils import PROMPT_TEMPLATE, SYSTEM_TEMPLATE
from recipe.fast import FastFinetune
pretrained_model_name_or_path = 'build/7b/model'
use_varlen_attn = False
alpaca_en_path = 'build/7b/data/assistant_Tuner_change.jsonl'
prompt_template = PROMPT_TEMPLATE.default
max_length = 2048
pack_to_max_length = True
sequence_parallel_size = 1
batch_size = 1
accumulative_counts = 1
accumulative_counts *= sequence_parallel_size
dataloader_num_workers = 4
max_epochs = 3
optim_type = AdamW
lr = 0.0001
betas = (0.9, 0.999)
weight_decay = 0
max_norm = 1
warmup_ratio = 0.03
save_steps = 50
save_total_limit = 2
evaluation_freq = 500
SYSTEM = 'PERSONA'
evaluation_inputs = ['请介绍一下你自己', 'Please introduce yourself']
tokenizer = dict(
    type=AutoTokenizer.from_pretrained,
    pretrained_model_name_or_path=pretrained_model_name_or_path,
    trust_remote_code=True,
    padding_side='right',
)
model = dict(
    type=FastFinetune,
    use_varlen_attn=use_varlen_attn,
    llm=dict(
        type=AutoModelForCausalLM.from_pretrained,
        pretrained_model_name_or_path=pretrained_model_name_or_path,
        trust_remote_code=True,
        torch_dtype=torch.bfloat16,
    ),
    lora=dict(
        type=LoraConfig,
        r=64,
        lora_alpha=16,
        lora_dropout=0.1,
        bias='none',
        task_type='CAUSAL_LM',
    ),
    kept_bytes=1000000000,
)
alpaca_en = dict(
    type=process_hf_dataset,
    dataset=dict(
        type=load_dataset,
        path='json',
        data_files=dict(
            train=alpaca_en_path,
        ),
    ),
    tokenizer=tokenizer,
    max_length=max_length,
    dataset_map_fn=None,
    template_map_fn=dict(
        type=template_map_fn_factory,
        template=prompt_template,
    ),
    remove_unused_columns=True,
    shuffle_before_pack=True,
    pack_to_max_length=pack_to_max_length,
    use_varlen_attn=use_varlen_attn,
    map_num_proc=None,
)
sampler = SequenceParallelSampler if sequence_parallel_size > 1 else DefaultSampler
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=dataloader_num_workers,
    dataset=alpaca_en,
    sampler=dict(
        type=sampler,
        shuffle=True,
    ),
    collate_fn=dict(
        type=default_collate_fn,
        use_varlen_attn=use_varlen_attn,
    ),
)
optim_wrapper = dict(
    type=AmpOptimWrapper,
    optimizer=dict(
        type=optim_type,
        lr=lr,
        betas=betas,
        weight_decay=weight_decay,
        fused=True,
    ),
    clip_grad=dict(
        max_norm=max_norm,
        error_if_nonfinite=False,
    ),
    accumulative_counts=accumulative_counts,
    loss_scale=dict(
        enabled=False,
    ),
    dtype='bfloat16',
)
param_scheduler = [dict(type=LinearLR, start_factor=1e-05, by_epoch=True, begin=0, end=warmup_ratio * max_epochs, convert_to_iter_based=True), dict(type=CosineAnnealingLR, eta_min=0.0, by_epoch=True, begin=warmup_ratio * max_epochs, end=max_epochs, convert_to_iter_based=True)]
train_cfg = dict(
    type=TrainLoop,
    max_epochs=max_epochs,
)
custom_hooks = [dict(type=DatasetInfoHook, tokenizer=tokenizer), dict(type=ThroughputHook), dict(type=EvaluateChatHook, tokenizer=tokenizer, every_n_iters=evaluation_freq, evaluation_inputs=evaluation_inputs, system=SYSTEM, prompt_template=prompt_template, max_new_tokens=64)]
if use_varlen_attn:
    custom_hooks += [dict(type=VarlenAttnArgsToMessageHubHook)]
default_hooks = dict(
    timer=dict(
        type=IterTimerHook,
    ),
    logger=dict(
        type=LoggerHook,
        log_metric_by_epoch=False,
        interval=10,
    ),
    param_scheduler=dict(
        type=ParamSchedulerHook,
    ),
    checkpoint=dict(
        type=CheckpointHook,
        by_epoch=False,
        interval=save_steps,
        max_keep_ckpts=save_total_limit,
    ),
    sampler_seed=dict(
        type=DistSamplerSeedHook,
    ),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(
        mp_start_method='fork',
        opencv_num_threads=0,
    ),
    dist_cfg=dict(
        backend='nccl',
    ),
)
visualizer = None
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(
    seed=42,
    deterministic=False,
)
log_processor = dict(
    by_epoch=False,
)
