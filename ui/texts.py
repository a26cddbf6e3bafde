"""Every string of the page, in English and Japanese, in one table. Sentences of the analyses are in `analyzers.common.sentences`."""

from __future__ import annotations

from typing import Any

from analyzers.common.limits import LIMITS
from analyzers.common.sentences import Language

TEXTS: dict[str, tuple[str, str]] = {
    # key: (English, Japanese)
    "tagline": (
        "See inside a language model: which tokens drove its answer, and how far to trust that.",
        "言語モデルの中を見る:どのトークンが答えを導いたのか、その結果はどこまで信用できるのか。",
    ),
    # --- the shared controls
    "model": ("Model", "モデル"),
    "model_info": (
        "✓ is at hand, ↓ is downloaded when first used, ⊘ needs the Hub, which does not answer.",
        "✓ は手元にあり、↓ は初回にダウンロード、⊘ は Hub につながらないため使えません。",
    ),
    "model_info_any": (
        "✓ is at hand, ↓ is downloaded first, ⊘ needs the Hub, which does not answer. Or type any public id of the Hugging Face Hub: owner/name, owner/name@revision, owner/name/file.gguf.",
        "✓ は手元にあり、↓ は初回にダウンロード、⊘ は Hub につながらないため使えません。Hugging Face Hub の公開モデルの id(owner/name、owner/name@revision、owner/name/file.gguf)も入力できます。",
    ),
    "model_line": (
        "{kind}, {parameters} parameters. {fetched} Needs about {needed} of memory ({precision}, {device}); {free} can be had.",
        "{kind}、{parameters} パラメータ。{fetched}必要なメモリは約 {needed}({precision}、{device})、使えるのは {free} です。",
    ),
    "model_at_hand": ("At hand: nothing is downloaded.", "手元にあるのでダウンロードは不要です。"),
    "model_to_fetch": ("Run downloads {size} first.", "「実行」で最初に {size} をダウンロードします。"),
    "kind_causal": ("Causal model", "因果言語モデル"),
    "kind_masked": ("Masked model", "マスク言語モデル"),
    "kind_seq2seq": ("Encoder–decoder model", "エンコーダ・デコーダモデル"),
    "kind_encoder": ("Encoder without a head", "ヘッドのないエンコーダ"),
    "text": ("Text", "テキスト"),
    "text_info": (
        f"A leading space counts. At most {LIMITS.characters:,} characters, {LIMITS.tokens_cpu:,} tokens.",
        f"先頭の空白も意味を持ちます。最大 {LIMITS.characters:,} 文字、{LIMITS.tokens_cpu:,} トークン。",
    ),
    "generate": ("New tokens", "生成トークン数"),
    "sample": ("Sample (else greedy)", "サンプリング(オフなら貪欲法)"),
    "sampling": ("Sampling and continuation", "サンプリングと続きの指定"),
    "temperature": ("Temperature", "温度"),
    "top_k": ("Top-k", "Top-k"),
    "top_p": ("Top-p", "Top-p"),
    "seed": ("Seed", "シード"),
    "target_text": ("Score this continuation instead", "生成の代わりにこの続きを評価"),
    "target_text_info": (
        "Nothing is generated; usually starts with a space.",
        "何も生成しません。英語なら先頭に空白を入れます。",
    ),
    "run": ("Run", "実行"),
    "stop": ("Stop", "停止"),
    "examples": ("Examples", "例"),
    "example_first_layer": ("first layer", "最初の層"),
    "example_last_layer": ("last layer", "最後の層"),
    "example_sampled": ("sampled", "サンプリング"),
    "stand_in": (
        "This example was tried on {missed}, which is not at hand and cannot be downloaded now; {model} stands in for it.",
        "この例は {missed} で試されたものですが、手元になく、今はダウンロードもできません。代わりに {model} を使いました。",
    ),
    # --- how a run goes
    "ready": ("Ready. Choose an example or press Run.", "準備完了。例を選ぶか「実行」を押してください。"),
    "phase_waiting": (
        "Another run is using the model; yours is next…",
        "他の実行がモデルを使用中です。順番を待っています…",
    ),
    "phase_downloading": (
        "Downloading {model}: {done} of {total}…",
        "{model} をダウンロードしています:{total} のうち {done}…",
    ),
    "phase_loading": ("Loading {model}…", "{model} を読み込んでいます…"),
    "phase_generating": ("Generating… {percent}%", "生成中… {percent}%"),
    "phase_analyzing": ("Computing… {percent}%", "計算中… {percent}%"),
    "phase_expected": ("About {seconds} s in all.", "全体で約 {seconds} 秒かかる見込みです。"),
    "phase_done": (
        "Done in {seconds} s on {model} ({device}, {dtype}).",
        "{seconds} 秒で完了:{model}({device}、{dtype})。",
    ),
    "stopped": ("Stopped. What was ready stays.", "停止しました。できた分は残っています。"),
    "unexpected": (
        "Something went wrong on our side, and it was logged. Try again; if it stays, reload the page.",
        "こちらの不具合が発生し、記録しました。もう一度お試しください。続く場合はページを再読み込みしてください。",
    ),
    # --- the hover strip
    "strip_label": ("Text, token by token", "トークンごとのテキスト"),
    "empty_saliency": (
        "Which earlier tokens drove each predicted one",
        "予測された各トークンを、前のどのトークンが導いたか",
    ),
    "empty_saliency_how": (
        "Press Run or choose an example. Then hover a predicted token, tap it or reach it with ← →: the tokens that drove "
        "it light up, with their share.",
        "「実行」を押すか、例を選んでください。予測されたトークンにマウスを合わせる・タップする・← → で選ぶと、それを導いたトークンに"
        "色と割合が付きます。",
    ),
    "empty_layer-predictions": ("What each layer would have said", "各層なら何と言ったか"),
    "empty_layer-predictions_how": (
        "Press Run or choose an example. Then choose any token: each layer's guesses at that place, and how sure it was.",
        "「実行」を押すか、例を選んでください。トークンを選ぶと、その位置で各層が挙げる候補とその確率が並びます。",
    ),
    "empty_rankings": ("How the answer climbs to the first place", "答えが 1 位になるまで"),
    "empty_rankings_how": (
        "Press Run or choose an example. Then: the rank, at every layer, of the tokens that the model wrote and of those "
        "that you name.",
        "「実行」を押すか、例を選んでください。書かれたトークンと、指定したトークンの順位を層ごとに示します。",
    ),
    "empty_neuron-factors": (
        "Which neurons fire together, on which tokens",
        "どのニューロンが、どのトークンで一緒に反応するか",
    ),
    "empty_neuron-factors_how": (
        "Press Run or choose an example. A factor is a group of neurons: hover one, and the tokens it fires on light up.",
        "「実行」を押すか、例を選んでください。因子はニューロンの集まりです。マウスを合わせると、反応するトークンに色が付きます。",
    ),
    "strip_help": (
        "Hover, tap or use ← → on an underlined token to see what drove it; click or Enter pins it below.",
        "下線付きのトークンにマウスを合わせるか ← → で選ぶと、それを導いたトークンが色で示されます。クリックか Enter で下に固定。",
    ),
    "legend_share": ("share of the score; numbers in %", "スコアに占める割合(数値は %)"),
    "legend_score": ("signed score", "符号付きスコア"),
    "legend_for": ("supports it", "支持"),
    "legend_against": ("works against it", "逆方向"),
    "reading_output": ("{token} (position {position}): {target} {value}", "{token}(位置 {position}):{target} {value}"),
    "reading_share": (
        "{token} (position {position}): {share} of the score",
        "{token}(位置 {position}):スコアの {share}",
    ),
    "reading_score": ("{token} (position {position}): score {score}", "{token}(位置 {position}):スコア {score}"),
    "reading_hidden": (
        "hidden: {target} {before} → {after}",
        "隠すと:{target} {before} → {after}",
    ),
    # --- saliency
    "saliency": ("Saliency", "顕著性"),
    "method": ("Method", "手法"),
    "method_occlusion": ("Occlusion (leave one out)", "遮蔽法(1 つ隠す)"),
    "method_integrated-gradients": ("Integrated gradients", "積分勾配"),
    "method_input-x-gradient": ("Input × gradient", "入力 × 勾配"),
    "method_gradient": ("Gradient", "勾配"),
    "target": ("Explain the", "説明する値"),
    "target_probability": ("probability", "確率"),
    "target_logit": ("logit", "ロジット"),
    "target_log-probability": ("log-probability", "対数確率"),
    "target_contrast": ("logit − logit of “{text}” (id {id})", "ロジット −「{text}」(id {id})のロジット"),
    "contrast": ("Rather than (contrast)", "~ではなく(対比)"),
    "contrast_info": (
        "a token, such as ␣Manchester",
        "トークン(例:␣Manchester)",
    ),
    "baseline": ("Absence is", "「無い」の表現"),
    "baseline_token": ("padding/end token", "パディング/文末トークン"),
    "baseline_mean": ("mean embedding", "平均埋め込み"),
    "baseline_zero": ("zero (as ecco)", "ゼロ(ecco と同じ)"),
    "aggregate": ("Per token", "トークンごとの集計"),
    "aggregate_l2": ("magnitude → shares", "大きさ → 割合"),
    "aggregate_sum": ("signed sum", "符号付きの和"),
    "points": ("Integration points", "積分点の数"),
    "points_auto": ("automatic (errors < 5%)", "自動(誤差 5% 未満まで)"),
    "whole_words": ("Hide whole words", "単語ごとに隠す"),
    "settings": ("Method and target", "手法と説明対象"),
    "baseline_line": ("absence = {baseline}", "「無い」= {baseline}"),
    "points_line": ("{points} points", "{points} 点"),
    "completeness_line": ("completeness error {relative}", "完全性誤差 {relative}"),
    "map_change_line": ("map change {change}", "マップの変化 {change}"),
    "undefined": ("undefined", "定義できない"),
    "not_converged_line": ("not converged", "収束していない"),
    "whole_words_line": ("whole words", "単語単位"),
    "pinned": ("Pinned token", "固定したトークン"),
    "pinned_none": ("Nothing is pinned yet.", "まだ何も固定されていません。"),
    "highlighted": ("The same scores as highlighted text", "同じスコアのハイライト表示"),
    "chart_title": ("{method}: what drove “{token}”", "{method}:「{token}」を導いたもの"),
    "chart_first": ("the {n} largest of {total}, in text order", "{total} 個中の上位 {n} 個(本文の順)"),
    "axis_share": ("share of the score (%)", "スコアに占める割合(%)"),
    "axis_score": ("signed score", "符号付きスコア"),
    "effect_for": ("supports it", "支持"),
    "effect_against": ("works against it", "逆方向"),
    "effect": ("effect", "効果"),
    "table": ("Table", "表"),
    "column_position": ("position", "位置"),
    "column_token": ("token", "トークン"),
    "column_id": ("id", "id"),
    "column_score": ("score", "スコア"),
    "column_share": ("share %", "割合 %"),
    "column_hidden": ("when hidden", "隠したとき"),
    "download_csv": ("All tokens as CSV", "全トークンを CSV で保存"),
    "download_json": ("All results as JSON", "全結果を JSON で保存"),
    # --- faithfulness
    "faithfulness": ("Is this map faithful?", "このマップは忠実か"),
    "faithfulness_run": ("Delete and insert by rank", "順位どおりに削除・挿入してみる"),
    "faithfulness_note": (
        "Tokens are removed (or kept alone) in the order of their score, and in {orders} random orders. A faithful map "
        "falls faster than random when its top tokens are deleted, and recovers faster when only they are kept. "
        "Comprehensiveness {comprehensiveness} (random {comprehensiveness_random}, higher is better); "
        "sufficiency {sufficiency} (random {sufficiency_random}, lower is better), in nats of log-probability "
        "(DeYoung et al. 2020).",
        "スコアの順にトークンを削除(またはそれだけを残)し、{orders} 通りのランダムな順序と比べます。忠実なマップなら、"
        "上位を削除したときはランダムより速く下がり、上位だけを残したときは速く回復します。"
        "包括性 {comprehensiveness}(ランダム {comprehensiveness_random}、高いほど良い)、"
        "十分性 {sufficiency}(ランダム {sufficiency_random}、低いほど良い)。単位は対数確率の nat(DeYoung et al. 2020)。",
    ),
    "axis_tokens_changed": ("tokens deleted, or kept", "削除した(残した)トークン数"),
    "axis_log_probability": ("log-probability (nats)", "対数確率(nat)"),
    "curve_deletion": ("top tokens deleted", "上位を削除"),
    "curve_insertion": ("only top tokens kept", "上位だけ残す"),
    "order_score": ("by score", "スコア順"),
    "order_random": ("random (mean)", "ランダム(平均)"),
    "legend_order": ("order", "順序"),
    # --- the lens: layer predictions and rankings
    "options": ("Settings", "設定"),
    "side": ("Side", "どちら側"),
    "side_source": ("source (encoder)", "入力側(エンコーダ)"),
    "side_target": ("target (decoder)", "出力側(デコーダ)"),
    "reading_own_position": (
        "{token} (position {position}), read at its own place, from both sides",
        "{token}(位置 {position})、その位置で両側から読み取り",
    ),
    "hide": ("Hide the token at position", "この位置のトークンを隠す"),
    "hide_info": (
        "The model guesses it from both sides. Or put [MASK] into the text.",
        "モデルが両側から推測します。テキストに [MASK] を入れても構いません。",
    ),
    "insert_mask": ("Insert [MASK] at the cursor", "カーソル位置に [MASK] を挿入"),
    "masked_words": ("Score these words at the masks", "マスク位置でこの語を評価"),
    "masked_words_info": (
        "One token for each mask; empty: the likeliest.",
        "マスク 1 つに 1 トークン。空なら最も確からしいトークン。",
    ),
    "second_text": ("Compare with this text", "この文と比べる"),
    "second_text_info": (
        "Saliency then shows which tokens make the two alike.",
        "顕著性タブで、どのトークンが 2 つの文を似せているかが分かります。",
    ),
    "target_similarity": ("cosine of the two texts", "2 つの文のコサイン類似度"),
    "faithfulness_encoder": (
        "The test deletes tokens by rank and reads a token's log-probability; the likeness of two texts has none.",
        "このテストは順位どおりにトークンを削除して対数確率を読みます。2 つの文の類似度には対数確率がありません。",
    ),
    "strip_next": ("next token", "次のトークン"),
    "strip_choose": (
        "Click a token, or use ← → and Enter, to read the layers where it was predicted.",
        "トークンをクリックするか ← → と Enter で選ぶと、それが予測された位置で各層を読みます。",
    ),
    "reading_position": (
        "{token} (position {position}), predicted from position {before}",
        "{token}(位置 {position})、位置 {before} から予測",
    ),
    "layer-predictions": ("Layer Predictions", "層ごとの予測"),
    "top": ("Predictions per layer", "層ごとの候補数"),
    "layer": ("Layer", "層"),
    "layer_all": ("all layers", "すべての層"),
    "layer_embedding": ("embedding", "埋め込み"),
    "layer_last": ("last layer", "最終層"),
    "compare": ("Compare side by side", "並べて比較"),
    "compare_none": ("nothing", "なし"),
    "compare_norm": ("no final norm (as ecco did)", "最終正規化なし(ecco の方式)"),
    "compare_text": ("another text", "別のテキスト"),
    "compare_text_box": ("Other text", "比べるテキスト"),
    "norm_warning": (
        "Without the final norm the head reads numbers on a scale it was never trained for: the right-hand picture is "
        "wrong in every layer but the last, often with near-certainty about junk. It is here to compare with ecco.",
        "最終正規化を省くと、ヘッドは学習時とは異なるスケールの値を読むことになります。右の図は最終層以外すべて誤りで、"
        "無意味なトークンにほぼ確実という確率が付くこともあります。ecco と比べるために用意しています。",
    ),
    "lens_line": (
        "Position {position}, read at position {before} · {norm} · last layer − model's logits: max difference {check}",
        "位置 {position}(位置 {before} で読み取り)・{norm}・最終層 − モデルのロジット:最大差 {check}",
    ),
    "lens_line_all": (
        "Lens: {norm} · last layer − model's logits: max difference {check}",
        "レンズ:{norm}・最終層 − モデルのロジット:最大差 {check}",
    ),
    "rounding": (" (float32 rounding)", "(float32 の丸め)"),
    "with_norm": (
        "each layer through the model's own final norm and head",
        "各層をモデル自身の最終正規化とヘッドで読む",
    ),
    "without_norm": ("WITHOUT the final norm", "最終正規化なし"),
    "predictions_title": ("What each layer would say at position {position}", "位置 {position} で各層が言うトークン"),
    "chosen_outlined": ("outlined: {token}, the token that stands there", "枠付き:その位置にある {token}"),
    "axis_layer": ("layer", "層"),
    "axis_rank_order": ("rank", "順位"),
    "axis_position": ("position", "位置"),
    "probability": ("probability", "確率"),
    "entropy": ("entropy (nats)", "エントロピー(nat)"),
    "kl": ("KL to final (nats)", "最終との KL(nat)"),
    "column_layer": ("layer", "層"),
    "column_rank": ("rank", "順位"),
    "column_probability": ("probability", "確率"),
    "overview": ("Whole text: the top token of every layer at every position", "全文:全層・全位置の最上位トークン"),
    "overview_run": ("Read the whole text", "全文を読む"),
    "overview_title": ("The top token of each layer at each position", "各層・各位置の最上位トークン"),
    "overview_note": (
        "A cell is what the layer would have said there; outlined where it is the token that stands there. Click a cell "
        "for its top 10.",
        "各セルはその位置でその層が言うトークンです。実際のトークンと一致すると枠が付きます。セルをクリックすると上位 10 個を表示します。",
    ),
    "overview_window": ("positions {first} to {last} of {total}", "全 {total} 位置のうち {first}〜{last}"),
    "cell_title": ("Layer {layer}, position {position}", "層 {layer}、位置 {position}"),
    "layer-predictions_help": (
        """**What it shows.** Each block's output, read through the model's *own* final norm and head: the token the model
would say if it stopped there (the logit lens, nostalgebraist 2020). The first row is what enters the first block; the last
row is the model's real output, and the line above shows that the two agree. Position p is predicted from position p − 1.

**Numbers.** Probability is a softmax over the whole vocabulary. *Entropy* says how undecided a layer is; *KL* how far its
whole distribution is from the final one. Both in nats.

**Where it misleads.**
- It is a reading, not a belief: no layer but the last was trained to be decoded, and early rows can be noise that looks
  sure of itself (Belrose et al. 2023, arXiv 2303.08112).
- A token that appears late was not necessarily "found" late: it may be there in a form that this head cannot read.
- ecco skipped the final norm on every layer but the last. Choose *Compare side by side* to see what that does.
- `London`, ` London` and `london` are different tokens: · marks a leading space.""",
        """**何が見えるか。** 各ブロックの出力をモデル*自身*の最終正規化とヘッドで読んだもの、つまりそこで止めたらモデルが言うトークンです
(ロジットレンズ、nostalgebraist 2020)。最初の行は最初のブロックに入る値、最後の行はモデルの実際の出力で、上の行に両者が一致することを示します。
位置 p のトークンは位置 p − 1 から予測されます。

**数値。** 確率は語彙全体のソフトマックスです。*エントロピー*はその層の迷いの大きさ、*KL* は最終分布との隔たりを表します。単位は nat です。

**誤解しやすい点。**
- これは読み取りであって、モデルの信念ではありません。最終層以外は読まれるように学習しておらず、初期の行は自信ありげなノイズのことがあります
  (Belrose et al. 2023、arXiv 2303.08112)。
- 後の層で現れたトークンが、その層で「見つかった」とは限りません。このヘッドでは読めない形で先にあったのかもしれません。
- ecco は最終層以外で最終正規化を省いていました。「並べて比較」で違いを確かめられます。
- `London`、` London`、`london` は別のトークンです。· は先頭の空白を表します。""",
    ),
    "rankings": ("Rankings", "順位"),
    "watch": ("Watch these tokens", "追跡するトークン"),
    "watch_info": (
        f"One per line, at most {LIMITS.watched_tokens}; a leading space counts. Ranked at the token chosen in the text.",
        f"1 行に 1 つ、最大 {LIMITS.watched_tokens} 個。先頭の空白も区別します。テキストで選んだトークンの位置で順位を調べます。",
    ),
    "watch_spacing": ("Add the other spacing", "空白違いも追加"),
    "rankings_title": ("Rank of each generated token at each layer", "生成された各トークンの層ごとの順位"),
    "rank": ("rank", "順位"),
    "rankings_none": (
        "No token was generated, so there is no heat map; the strip above reads the text's own tokens.",
        "生成トークンがないため、ヒートマップはありません。上のテキストでは本文のトークンを読めます。",
    ),
    "watch_title": ("Watched tokens at position {position}", "位置 {position} で追跡したトークン"),
    "commitment": ("When each token is settled", "各トークンがいつ決まるか"),
    "commitment_legend": ("first layer from which it stays first", "以後ずっと 1 位になる最初の層"),
    "commitment_never": ("not first", "1 位でない"),
    "reading_commitment": (
        "{token} (position {position}): first from layer {layer} on; log-probability {log_probability}",
        "{token}(位置 {position}):層 {layer} から 1 位、対数確率 {log_probability}",
    ),
    "reading_never": (
        "{token} (position {position}): not first at the last layer; log-probability {log_probability}",
        "{token}(位置 {position}):最終層で 1 位でない、対数確率 {log_probability}",
    ),
    "column_ties": ("ties", "同順位"),
    "rankings_help": (
        """**What it shows.** For every layer, where the token that the model went on to write stands among the whole
vocabulary when that layer is read through the model's own norm and head. Rank 1 is the likeliest; ties share the better
rank, and are counted in the tooltip. Greedy tokens end at 1; sampled ones need not.

**Watch** asks for tokens of your own at one place: with *The keys to the cabinet* watch ` is` and ` are`, and see where the
plural wins. **The strip** colours every token of the text by the first layer from which it stays first: light is early,
dark is late, none is never.

**Where it misleads.**
- A rank hides how close the race is: rank 2 at 49% and rank 2 at 0.1% look the same. Layer Predictions has the numbers.
- Early ranks are a rough reading: those layers were never trained to be decoded (nostalgebraist 2020; Belrose et al.
  2023, arXiv 2303.08112).
- Common words settle early partly because they are common, not because the model understood anything.
- The scale is logarithmic: from 1,000 to 100 is as far as from 10 to 1.""",
        """**何が見えるか。** 各層をモデル自身の正規化とヘッドで読んだとき、実際に書かれたトークンが語彙全体の中で何位かを示します。1 位が最も
確からしく、同点は良い方の順位で数え、その数はツールチップに出ます。貪欲法のトークンは最後に 1 位になりますが、サンプリングではそうとは限りません。

**追跡**では、1 つの位置で好きなトークンの順位を調べられます。*The keys to the cabinet* で ` is` と ` are` を追跡し、どこで複数形が勝つか
見てください。**テキストの色**は、以後ずっと 1 位になる最初の層を表します。薄い色は早い層、濃い色は遅い層、無色は 1 位にならないトークンです。

**誤解しやすい点。**
- 順位からは差の大きさが分かりません。49% の 2 位も 0.1% の 2 位も同じに見えます。数値は「層ごとの予測」にあります。
- 初期層の順位は大まかな読み取りです。読まれるように学習していません(nostalgebraist 2020、Belrose et al. 2023、arXiv 2303.08112)。
- よくある語が早く決まるのは、よくある語だからでもあり、モデルが理解したからとは限りません。
- 目盛りは対数です。1,000 位から 100 位までと、10 位から 1 位までが同じ長さです。""",
    ),
    # --- neuron factors
    "neuron-factors": ("Neuron Factors", "ニューロン因子"),
    "factors": ("Factors", "因子の数"),
    "layers": ("Layers", "層"),
    "layers_all": ("all", "すべて"),
    "layers_first": ("first", "最初"),
    "layers_middle": ("middle", "中間"),
    "layers_last": ("last", "最後"),
    "layers_range": ("a range", "範囲を指定"),
    "first_layer": ("From layer", "開始層"),
    "last_layer": ("To layer (inclusive)", "終了層(含む)"),
    "include_first_token": ("Keep the first token", "最初のトークンも含める"),
    "include_special": ("Keep other special tokens", "他の特殊トークンも含める"),
    "unscaled": ("Layers as they are (as ecco)", "層の大きさを揃えない(ecco と同じ)"),
    "parts": ("Activations", "活性"),
    "parts_positive": ("positive part (as ecco)", "正の部分(ecco と同じ)"),
    "parts_split": ("positive and negative parts", "正と負の両方"),
    "factors_line": (
        "NMF · layers {first} to {last} · {parts} · {scaling} · relative error ‖X−WH‖/‖X‖ = {error} · {iterations} "
        "iterations, {converged} · left out: {left_out}",
        "NMF・層 {first}〜{last}・{parts}・{scaling}・相対誤差 ‖X−WH‖/‖X‖ = {error}・{iterations} 反復、{converged}・除外: {left_out}",
    ),
    "scaled_line": ("each layer scaled alike", "層の大きさを揃える"),
    "unscaled_line": ("layers as they are", "層の大きさはそのまま"),
    "converged_line": ("converged", "収束"),
    "nothing": ("nothing", "なし"),
    "factor": ("Factor {number}", "因子 {number}"),
    "factor_shares": ("share per layer, first to last", "層ごとの割合(左が最初の層)"),
    "factor_help": (
        "Hover, tap or focus a factor to light the tokens it fires on; hover a token to name its factors. Click pins. An "
        "activation is the response to its token, and a cause of the next one.",
        "因子にマウスを合わせるかタップすると、反応するトークンが光ります。トークンに合わせると因子が表示されます。クリックで固定。"
        "活性はそのトークンへの反応であり、次のトークンの原因でもあります。",
    ),
    "factor_of_token": ("{token} (position {position}): {factors}", "{token}(位置 {position}):{factors}"),
    "factor_left_out": ("{token} (position {position}): left out", "{token}(位置 {position}):除外"),
    "factor_strongest": ("Factor {number}: {tokens}", "因子 {number}:{tokens}"),
    "leading": ("Each token's leading factor", "各トークンの主な因子"),
    "column_factor": ("factor", "因子"),
    "column_neuron": ("neuron", "ニューロン"),
    "column_part": ("part", "符号"),
    "column_weight": ("weight", "重み"),
    "promoted": (
        "Factor {number}: its strongest neurons promote {tokens} (their down-projection through final norm and head; a "
        "rough reading, Geva et al. 2022)",
        "因子 {number}:最も強いニューロンが押し上げるトークン {tokens}(ダウンプロジェクションを最終正規化とヘッドに通した大まかな読み取り、Geva et al. 2022)",
    ),
    "cause": ("From seeing to cause: turn these neurons down or up", "見るから確かめるへ:ニューロンを弱める・強める"),
    "cause_scale": ("Scale (0 off, 1 unchanged, 2 doubled)", "倍率(0 で停止、1 で変化なし、2 で 2 倍)"),
    "cause_neurons": ("How many of its strongest neurons", "最も強いニューロンの数"),
    "cause_run": ("Predict the next token again", "次のトークンを予測し直す"),
    "cause_title": (
        "The next token, with {n} neurons of factor {number} × {scale}: KL {kl} nats",
        "次のトークン:因子 {number} の {n} ニューロンを {scale} 倍(KL {kl} nat)",
    ),
    "cause_note": (
        "It shows that these neurons matter here, not that they alone do: others may do the same work.",
        "これらのニューロンがここで効いていることを示しますが、他にも同じ働きをするものがあるかもしれません。",
    ),
    "cause_encoder": ("An encoder predicts no next token.", "エンコーダは次のトークンを予測しません。"),
    "before": ("before", "変更前"),
    "after": ("after", "変更後"),
    "compare_layers": ("Compare first, middle and last layer", "最初・中間・最後の層を比べる"),
    "compare_layers_run": ("Factorise each of the three layers", "3 つの層をそれぞれ因子分解する"),
    "compare_layers_title": (
        "The same text at three layers, factors matched",
        "同じテキストの 3 つの層(因子を対応付け)",
    ),
    "compare_layers_note": (
        "Rows are factors matched to the first layer's by the tokens they fire on; the number is the cosine. A factor "
        "whose shape follows the position, not the words, is driven by position.",
        "行は、反応するトークンが似た因子どうしを最初の層に合わせて並べたものです。数値はコサイン類似度。語ではなく位置に沿った形の因子は、位置に反応しています。",
    ),
    "layer_error": ("layer {layer}, error {error}", "層 {layer}、誤差 {error}"),
    "neuron-factors_help": (
        """**What it shows.** A neuron is one input of an MLP's down projection. Their activations on every token form a table
(tokens × neurons); non-negative matrix factorisation splits it into a few *factors*: groups of neurons that fire together,
and how much of each group every token has (Lee & Seung 1999; the idea of the picture is Alammar's, 2021). Factors stand in
order of their energy.

**Numbers.** The *relative error* says how much of the table the factors leave out: 0.7 means that they are a sketch. The
small bars give each factor's share per layer.

**Where it misleads.**
- The first token is left out: it carries nearly all of the squared activation of many models (attention sinks, Sun et al.
  2024), and with it one factor describes nothing else. ecco kept it. Every layer is brought to the same size; ecco did not.
- Gated MLPs also fire below zero. *Positive part* drops that half, as ecco did; *both parts* keeps it.
- NMF finds *a* good split, not *the* one; another number of factors gives other factors.
- A factor that fires on a kind of word does not show that the model uses it: turn its neurons down and see.
- The tokens that neurons promote are read as if no later layer changed them.""",
        """**何が見えるか。** ニューロンとは MLP のダウンプロジェクションの入力 1 つです。全トークンでの活性の表(トークン × ニューロン)を
非負値行列因子分解で少数の*因子*に分けます。因子は一緒に活性化するニューロンの集まりで、各トークンがそれをどれだけ持つかを示します
(Lee & Seung 1999、図の発想は Alammar 2021)。因子はエネルギーの順に並びます。

**数値。** *相対誤差*は、因子で表せなかった割合です。0.7 なら概略にすぎません。小さな棒は、その因子の層ごとの割合です。

**誤解しやすい点。**
- 最初のトークンは除いています。多くのモデルで活性の 2 乗のほとんどを占め(attention sink、Sun et al. 2024)、含めると 1 つの因子がそれだけを
  表してしまうからです。ecco は含めていました。また各層の大きさを揃えています(ecco は揃えません)。
- ゲート付き MLP は負の値も取ります。*正の部分*は ecco と同じく負を捨て、*正と負の両方*は残します。
- NMF が見つけるのは良い分け方の 1 つです。因子の数を変えれば別の因子になります。
- ある種の語に反応する因子があっても、モデルがそれを使うとは限りません。ニューロンを弱めて確かめてください。
- ニューロンが押し上げるトークンは、後の層が何も変えないと仮定した読み取りです。""",
    ),
    # --- reading
    "how_to_read": ("How to read this", "読み方"),
    "saliency_help": (
        """**What it shows.** For one predicted token, how much each earlier token mattered to one number: its
probability (or logit, log-probability, or the difference to another token, Yin & Neubig 2022). Colours and bars are
**shares**: the scores divided by their sum.

**Methods.** *Occlusion* hides one token at a time and reports how far the number falls; it is exact by its own
definition. *Gradient* (Simonyan et al. 2014) and *input × gradient* (Shrikumar et al. 2017) ask how the number reacts
to a tiny change. *Integrated gradients* (Sundararajan et al. 2017) adds those reactions up on the way from "absent" to
present; its line shows two errors, and says **not converged** when either is above 5%: then do not read it.

**Other kinds of model.** A hidden token of a masked model rests on both sides; the mask is the question and is held as it is.
An encoder–decoder's token rests on the source and on the target so far. An encoder without a head predicts no token: there the
number is the cosine of its mean vectors of two texts (Reimers & Gurevych 2019).

**Where it misleads.**
- Methods disagree. Look at two before you believe one; the deletion curves show which is closer to what the model does.
- "Absent" is a choice. An end-of-text token also cuts off what stands before it, so hiding almost anything can hurt;
  compare with the mean embedding. Zero is what ecco used; it lies far from any real token.
- One part of a split word hidden alone underrates the word: hide whole words.
- A blue token works against the prediction: without it the number rises. Its share counts its size.
- Only token embeddings are attributed; what positions contribute is not shown.
- A share says nothing about *why*: two tokens that only work together each get the whole effect.""",
        """**何が見えるか。** 予測された 1 つのトークンについて、その確率(またはロジット、対数確率、別のトークンとの差:
Yin & Neubig 2022)に、それより前の各トークンがどれだけ効いたかを示します。色と棒は**割合**、つまりスコアを合計で割った値です。

**手法。** *遮蔽法*はトークンを 1 つずつ隠し、値がどれだけ下がるかを測ります。定義どおりの正確な値です。*勾配*(Simonyan et al.
2014)と*入力 × 勾配*(Shrikumar et al. 2017)は、ごく小さな変化への反応を見ます。*積分勾配*(Sundararajan et al. 2017)は
「無い」状態から「有る」状態までの反応を足し合わせます。2 つの誤差を表示し、どちらかが 5% を超えると**収束していない**と
表示します。その場合は読み取らないでください。

**他の種類のモデル。** マスク言語モデルの隠されたトークンは両側から予測されます。マスク自体は問いなので、そのまま保ちます。
エンコーダ・デコーダでは、入力側とそれまでの出力側の両方を見ます。ヘッドのないエンコーダはトークンを予測しないため、
2 つの文の平均ベクトルのコサイン類似度を説明します(Reimers & Gurevych 2019)。

**誤解しやすい点。**
- 手法によって結果は違います。1 つを信じる前に 2 つ見てください。削除曲線で、どちらがモデルの実際の動きに近いかが分かります。
- 「無い」の表現は選択です。文末トークンはその前の文脈も断ち切るので、何を隠しても下がりがちです。平均埋め込みと比べてください。
  ゼロは ecco の方式ですが、実在のどのトークンからも遠い点です。
- 分割された単語の一部だけを隠すと、その単語は過小評価されます。「単語ごとに隠す」を使ってください。
- 青いトークンは予測と逆方向に働きます。無い方が値が上がるという意味で、割合はその大きさです。
- 対象はトークンの埋め込みだけで、位置の寄与は示しません。
- 割合は理由を示しません。2 つそろって初めて効くトークンは、それぞれに全効果が付きます。""",
    ),
}


def say(key: str, language: Language, **values: Any) -> str:
    """A string in a language, its values filled in. Raises KeyError for an unknown key or a missing value."""
    template = TEXTS[key][1 if language == "ja" else 0]
    return template.format(**values) if values else template


def translations(language: Language) -> dict[str, str]:
    """The whole table in one language, for `gr.I18n`."""
    return {key: say(key, language) for key in TEXTS}
