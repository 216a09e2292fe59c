"""Responses are learned after prompts in the tokens that generation reads: three families of tokenizers,
made here, ids spelt out.

Each vocabulary is a list, an id is a place in it, and the tokens stand beside the ids.
"""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import BertTokenizerFast, ByT5Tokenizer, LlamaTokenizerFast, PreTrainedTokenizerFast

from sftdiv.modeling.chat_labels import label_conversations, render
from sftdiv.modeling.prompt_boundaries import tokenize_spans
from sftdiv.records import SftdivError

IDS, LABELS = "input_ids", "labels"
PIECES = [
    "<unk>",
    "<s>",
    "</s>",
    "▁",
    "Q",
    "A",
    "a",
    "b",
    "\n",
    "▁Q",
    "▁A",
    "▁a",
    "▁b",
    "Ab",
    "\n\n",
]  # of SentencePiece; ▁ is a space


def layout(gap, opening):
    """A template that writes "<s>Q a A b</s>" with `gap` for the spaces, but for the one before a response:
    that is `opening`."""
    return (
        "{{ bos_token }}{% for turn in messages %}"
        f"{{{{ 'A{opening}' + turn['content'] + eos_token if turn['role'] == 'assistant' "
        f"else 'Q{gap}' + turn['content'] + '{gap}' }}}}"
        f"{{% endfor %}}{{% if add_generation_prompt %}}A{opening}{{% endif %}}"
    )


LINES, SPACES, GLUED = (
    layout(r"\n", r"\n").replace("A\\n{% endif", "{{ 'A\\n' }}{% endif"),
    layout(" ", " "),
    layout(" ", ""),
)


def labelled(tokenizer, template, *turns):
    """Ids and labels of a conversation whose user speaks first."""
    tokenizer.chat_template = template
    messages = [{"role": ("user", "assistant")[place % 2], "content": turn} for place, turn in enumerate(turns)]
    (example,) = label_conversations(tokenizer, [messages], max_length=999)
    return example.input_ids.tolist(), example.labels.tolist()


def fast(backend, **special):
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="</s>", **special
    )


def byte_level():
    """BPE over bytes; Ċ is a line break, Ġ a space. Two line breaks merge, as Llama 3 has it."""
    entries = ["<s>", "</s>", "Q", "A", "a", "b", "Ċ", "Ġ", "ĊĊ", "Ġb"]
    backend = Tokenizer(models.BPE({entry: i for i, entry in enumerate(entries)}, merges=[("Ċ", "Ċ"), ("Ġ", "b")]))
    backend.pre_tokenizer, backend.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        decoders.ByteLevel(),
    )
    return fast(backend)


def unigram(scheme):
    """SentencePiece's Unigram; `scheme` says before which texts a space is put that is not in them."""
    scores = [(piece, {"Ab": -1.2}.get(piece, -1.5 if len(piece) == 2 else -1.0)) for piece in PIECES]
    backend = Tokenizer(models.Unigram(scores, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return fast(backend, unk_token="<unk>")


def always():
    return unigram("always")


def first():
    return unigram("first")


MERGES = [("▁", "Q"), ("▁", "A"), ("▁", "a"), ("▁", "b"), ("\n", "\n")]


def llama():
    """SentencePiece's BPE as transformers makes it for Llama 2."""
    return LlamaTokenizerFast(vocab={piece: i for i, piece in enumerate(PIECES)}, merges=MERGES)


def llama_file():
    """The same as the files of Llama 2 have it: a normalizer puts the space before every text, after
    special tokens too."""
    backend = Tokenizer(
        models.BPE({piece: i for i, piece in enumerate(PIECES)}, merges=MERGES, unk_token="<unk>", fuse_unk=True)
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return fast(backend, unk_token="<unk>")


def word_piece():
    """BERT's WordPiece: letters become small, white space is lost, ## continues a word."""
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "q", "a", "b", "##b", "ab", "##a"]
    return BertTokenizerFast(vocab={entry: i for i, entry in enumerate(entries)}, bos_token="[CLS]", eos_token="[SEP]")


FAMILIES = [cache(make) for make in (byte_level, always, first, llama, llama_file, word_piece)]


def test_byte_level_with_one_turn_and_with_two():
    ids, labels = labelled(byte_level(), LINES, "a", "b b")
    assert ids == [0, 2, 6, 4, 6, 3, 6, 5, 9, 1]  # <s> Q Ċ a Ċ A Ċ b Ġb </s>
    assert labels == [-100, -100, -100, -100, -100, -100, -100, 5, 9, 1]
    ids, labels = labelled(byte_level(), LINES, "a", "b", "b", "a")
    assert ids == [0, 2, 6, 4, 6, 3, 6, 5, 1, 2, 6, 5, 6, 3, 6, 4, 1]  # <s> Q Ċ a Ċ A Ċ b </s> Q Ċ b Ċ A Ċ a </s>
    assert labels == [-100, -100, -100, -100, -100, -100, -100, 5, 1, -100, -100, -100, -100, -100, -100, 4, 1]


def test_sentencepiece_with_a_space_before_every_text():
    ids, labels = labelled(always(), LINES, "a", "b b")
    assert ids == [1, 9, 8, 6, 8, 5, 8, 7, 12, 2]  # <s> ▁Q \n a \n A \n b ▁b </s>
    assert labels == [-100, -100, -100, -100, -100, -100, -100, 7, 12, 2]
    ids, labels = labelled(always(), LINES, "a", "b", "b", "a")
    assert ids == [
        1,
        9,
        8,
        6,
        8,
        5,
        8,
        7,
        2,
        9,
        8,
        7,
        8,
        5,
        8,
        6,
        2,
    ]  # <s> ▁Q \n a \n A \n b </s> ▁Q \n b \n A \n a </s>
    assert labels == [-100, -100, -100, -100, -100, -100, -100, 7, 2, -100, -100, -100, -100, -100, -100, 6, 2]
    assert labelled(llama_file(), LINES, "a", "b", "b", "a") == (ids, labels)


def test_sentencepiece_with_a_space_before_the_first_text():
    ids, labels = labelled(first(), LINES, "a", "b b")
    assert ids == [1, 4, 8, 6, 8, 5, 8, 7, 12, 2]  # <s> Q \n a \n A \n b ▁b </s>
    assert labels == [-100, -100, -100, -100, -100, -100, -100, 7, 12, 2]
    ids, labels = labelled(first(), LINES, "a", "b", "b", "a")
    assert ids == [1, 4, 8, 6, 8, 5, 8, 7, 2, 4, 8, 7, 8, 5, 8, 6, 2]  # <s> Q \n a \n A \n b </s> Q \n b \n A \n a </s>
    assert labels == [-100, -100, -100, -100, -100, -100, -100, 7, 2, -100, -100, -100, -100, -100, -100, 6, 2]
    assert labelled(llama(), LINES, "a", "b", "b", "a") == (ids, labels)


def test_word_piece_with_one_turn_and_with_two():
    ids, labels = labelled(word_piece(), LINES, "a", "b ab")
    assert ids == [2, 5, 6, 6, 7, 9, 3]  # [CLS] q a a b ab [SEP]
    assert labels == [-100, -100, -100, -100, 7, 9, 3]
    ids, labels = labelled(word_piece(), LINES, "a", "b", "b", "a")
    assert ids == [2, 5, 6, 6, 7, 3, 5, 7, 6, 6, 3]  # [CLS] q a a b [SEP] q b a a [SEP]
    assert labels == [-100, -100, -100, -100, 7, 3, -100, -100, -100, 6, 3]


def test_a_line_break_that_would_merge_with_the_prompts_is_tokenized_apart():
    tokenizer = byte_level()
    ids, labels = labelled(tokenizer, LINES, "a", "\nb")
    assert tokenizer("A\n\nb")["input_ids"] == [3, 8, 5]  # A ĊĊ b
    assert ids == [0, 2, 6, 4, 6, 3, 6, 6, 5, 1]  # <s> Q Ċ a Ċ A Ċ Ċ b </s>
    assert labels == [-100, -100, -100, -100, -100, -100, -100, 6, 5, 1]


def test_of_two_turns_only_the_response_that_would_merge_is_tokenized_apart():
    ids, labels = labelled(byte_level(), LINES, "a\n\na", "b\n\nb", "a", "\n\nb")
    assert ids == [
        0,
        2,
        6,
        4,
        8,
        4,
        6,
        3,
        6,
        5,
        8,
        5,
        1,
        2,
        6,
        4,
        6,
        3,
        6,
        8,
        5,
        1,
    ]  # ... A Ċ b ĊĊ b </s> Q Ċ a Ċ A Ċ ĊĊ b </s>
    assert labels == [
        -100,
        -100,
        -100,
        -100,
        -100,
        -100,
        -100,
        -100,
        -100,
        5,
        8,
        5,
        1,
        -100,
        -100,
        -100,
        -100,
        -100,
        -100,
        8,
        5,
        1,
    ]


@pytest.mark.parametrize(
    ("make", "ids", "labels"),
    [  # ▁b is one token of the whole, and the prompt ends with ▁
        (
            byte_level,
            [0, 2, 7, 4, 7, 3, 7, 5, 1],
            [-100, -100, -100, -100, -100, -100, -100, 5, 1],
        ),  # <s> Q Ġ a Ġ A Ġ b </s>
        (always, [1, 9, 11, 10, 3, 7, 2], [-100, -100, -100, -100, -100, 7, 2]),  # <s> ▁Q ▁a ▁A ▁ b </s>
        (first, [1, 4, 11, 10, 3, 7, 2], [-100, -100, -100, -100, -100, 7, 2]),  # <s> Q ▁a ▁A ▁ b </s>
        (llama, [1, 4, 11, 10, 3, 7, 2], [-100, -100, -100, -100, -100, 7, 2]),
        (llama_file, [1, 9, 11, 10, 3, 7, 2], [-100, -100, -100, -100, -100, 7, 2]),
    ],
)
def test_after_a_prompt_that_ends_with_a_space_the_response_gets_no_other(make, ids, labels):
    assert labelled(make(), SPACES, "a", "b") == (ids, labels)


def test_a_segmentation_that_looks_ahead_does_not_change_the_prompt():
    tokenizer = first()
    ids, labels = labelled(tokenizer, GLUED, "a", "b")
    assert tokenizer("<s>Q a Ab</s>")["input_ids"] == [1, 4, 11, 3, 13, 2]  # <s> Q ▁a ▁ Ab </s>
    assert ids == [1, 4, 11, 10, 7, 2]  # <s> Q ▁a ▁A b </s>
    assert labels == [-100, -100, -100, -100, 7, 2]


def test_a_prompt_that_ends_inside_a_word_of_word_piece_is_refused():
    assert labelled(word_piece(), GLUED, "a", "a")[0] == [
        2,
        5,
        6,
        6,
        10,
        3,
    ]  # [CLS] q a a ##a [SEP]: the prompt keeps its tokens
    message = (
        r"response 2 of 2 ends with '.*a A', in the tokens \['a', 'a'\]; "
        r"with the response 'b\[SEP\]' they are \['a', 'ab', '\[SEP\]'\].*"
    )
    with pytest.raises(SftdivError, match=message + "model/template=chatml"):
        labelled(word_piece(), GLUED, "a", "a", "a", "b")


def test_an_unknown_token_does_not_pass_for_the_one_that_ends_a_response():
    with pytest.raises(SftdivError, match="ends a response with no special token"):
        labelled(word_piece(), LINES.replace("eos_token", "''"), "a", "☃")


def test_an_end_token_that_is_special_by_its_entry_alone_ends_a_response():
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("<|end|>", special=True, rstrip=True)], special_tokens=False)
    ids, labels = labelled(tokenizer, LINES.replace("eos_token", "'<|end|>\\n'"), "a", "b", "a", "b")
    assert ids == [
        0,
        2,
        6,
        4,
        6,
        3,
        6,
        5,
        10,
        2,
        6,
        4,
        6,
        3,
        6,
        5,
        10,
    ]  # <s> Q Ċ a Ċ A Ċ b <|end|> Q Ċ a Ċ A Ċ b <|end|>
    assert labels == [-100, -100, -100, -100, -100, -100, -100, 5, 10, -100, -100, -100, -100, -100, -100, 5, 10]


def test_a_tokenizer_that_does_not_place_its_tokens_is_refused():
    with pytest.raises(SftdivError, match=r"ByT5Tokenizer does not map.*tokenizer.json"):
        list(tokenize_spans(ByT5Tokenizer(), [("a</s>", [(0, 5)])]))


@pytest.mark.parametrize("template", [LINES, SPACES], ids=["lines", "spaces"])
@pytest.mark.parametrize("make", FAMILIES, ids=lambda make: make.__name__)
@given(data=st.data())
def test_the_prompt_is_what_generation_reads_and_the_text_is_unchanged(make, template, data):
    tokenizer, content = make(), st.text("Aab \n", max_size=6)
    turns = data.draw(st.lists(content, min_size=2, max_size=6).filter(lambda turns: len(turns) % 2 == 0))
    ids, labels = labelled(tokenizer, template, *turns)
    text, spans = render(
        tokenizer, [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
    )
    prompt = tokenizer(text[: spans[0][0]], add_special_tokens=False)["input_ids"]
    assert (
        ids[: len(prompt)] == prompt and labels[: len(prompt)] == [-100] * len(prompt) and labels[len(prompt)] != -100
    )
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == tokenizer.decode(whole)
    assert labels.count(tokenizer.eos_token_id) == len(spans)
