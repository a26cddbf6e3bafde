"""Texts that hurt a page which reads them as anything but text. `hurt` is the canary: nothing may ever set it."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
import transformers

NAME = "<img src=x onerror=hurt=1>"
"""Also the name of a model folder."""
PAYLOADS = (
    NAME,
    "<script>hurt=1</script>",
    "</script><script>hurt=1</script>",
    "<svg onload=hurt=1>",
    "<svg><script>hurt=1</script></svg>",
    "<svg><a href=javascript:hurt=1><text>x</text></a></svg>",
    "<iframe srcdoc='<script>top.hurt=1</script>'>",
    "<iframe src=javascript:top.hurt=1>",
    "<a href=javascript:hurt=1>x</a>",
    "<details open ontoggle=hurt=1>",
    "<input autofocus onfocus=hurt=1>",
    "<body onload=hurt=1>",
    "<video><source onerror=hurt=1></video>",
    "<marquee onstart=hurt=1>x</marquee>",
    "<object data=http://evil.example/o>",
    "<embed src=http://evil.example/e>",
    "<img src=http://evil.example/i>",
    "<link rel=stylesheet href=http://evil.example/c>",
    "<style>@import 'http://evil.example/s'</style>",
    "</style><style>*{display:none}</style>",
    "<base href=http://evil.example/>",
    "<meta http-equiv=refresh content='0;url=http://evil.example'>",
    "<form action=http://evil.example><button>x</button></form>",
    "<math><mtext><img src=x onerror=hurt=1></mtext></math>",
    "'\"><img src=x onerror=hurt=1>",
    "' onmouseover='hurt=1",
    'x" style="position:fixed;inset:0" onclick="hurt=1',
    "&lt;img src=x onerror=hurt=1&gt;",
    "&#60;img src=x onerror=hurt=1&#62;",
    "%3Cimg src=x onerror=hurt=1%3E",
    "${hurt=1}",
    "${1+1}",
    "`${hurt=1}`",
    "{{7*7}}",
    "{{{value}}}",
    "{{hurt=1}}",
    "#{7*7}",
    "<%= 7*7 %>",
    "[x](javascript:hurt=1)",
    "![x](http://evil.example/m.png)",
    "**bold** $x^2$ ~~gone~~",
    '{"signal":"hurt"}',
    "datum.hurt",
    "__proto__",
    "constructor",
    "=1+1",
    "\u202eabc\u202c",
    "東京`は`日本の首都",
    "👩\u200d🚀",
    "café",
)


def save(folder: Path) -> None:
    """A tiny model in whose vocabulary each of these texts is one token."""
    from families import FAMILIES, tiny_tokenizer

    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.add_tokens(list(PAYLOADS))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.GPT2Config(**(FAMILIES["gpt2"].values | {"vocab_size": len(tokenizer)}))
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
